// What runs at this moment: the step of the sampler and the last preview of each running prompt. It is asked for only
// while a view shows it and the page is visible, because ComfyUI makes previews only while somebody watches.
import { signal, type Signal } from "@preact/signals";
import type { LedgerEvent, PreviewPush, ProgressPush } from "comfyledger";
import { useEffect } from "preact/hooks";
import { isOver, session } from "../session/session";
import { client } from "./client";
import { onEvent } from "./events";
import { inFrame } from "./frames";

export interface Running {
  prompt: number;
  /** Indexes of the images that it renders. */
  images: readonly number[];
  value: number;
  max: number;
  /** The last preview, as an address for <img>; empty if none came. */
  preview: string;
}

/** Prompts of a batch that run now, by their number. */
type Runs = ReadonlyMap<number, Running>;

const NONE: Runs = new Map();
const AGAIN_MS = 2_000;
const runs = new Map<string, Signal<Runs>>();
/** What came since the last frame, by batch. */
const arrived = new Map<string, Map<number, Running>>();
let watchers = 0;
let over: AbortController | undefined;

/** The running prompts of a batch. */
export function runsOf(batchId: string): Signal<Runs> {
  let found = runs.get(batchId);
  if (found === undefined) runs.set(batchId, (found = signal(NONE)));
  return found;
}

/** Follows what runs while a component is there. */
export function useProgress(): void {
  const key = session.value?.key;
  useEffect(() => {
    watchers += 1;
    adjust();
    const unlisten = onEvent(hear);
    document.addEventListener("visibilitychange", adjust);
    return () => {
      watchers -= 1;
      adjust();
      unlisten();
      document.removeEventListener("visibilitychange", adjust);
      for (const shown of runs.values()) shown.value = NONE; // a card that stays reads the same signal
    };
  }, [key]);
}

function adjust(): void {
  const isWanted = watchers > 0 && document.visibilityState === "visible" && session.peek() !== undefined;
  if (isWanted && over === undefined) {
    over = new AbortController();
    void follow(over.signal);
  } else if (!isWanted) {
    over?.abort();
    over = undefined;
  }
}

async function follow(signal: AbortSignal): Promise<void> {
  const key = session.peek()?.key;
  while (!signal.aborted) {
    try {
      const wanted = { after: -1, kinds: [], previews: true } as const;
      const pushed = client().subscribe(wanted, { signal, timeoutS: Infinity });
      for await (const push of pushed) take(push);
    } catch (error) {
      if (signal.aborted || isOver(error, key)) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

function take(push: ProgressPush | PreviewPush): void {
  const batch = arrived.get(push.batch_id) ?? new Map<number, Running>();
  const before = batch.get(push.prompt) ?? runsOf(push.batch_id).peek().get(push.prompt);
  const { prompt, images } = push;
  const { value, max } = push.kind === "progress" ? push : { value: before?.value ?? 0, max: before?.max ?? 0 };
  const preview = push.kind === "preview" ? `data:${push.mime};base64,${push.data}` : (before?.preview ?? "");
  batch.set(prompt, { prompt, images, value, max, preview });
  arrived.set(push.batch_id, batch);
  inFrame(show);
}

function show(): void {
  for (const [batchId, batch] of arrived) {
    const shown = runsOf(batchId);
    shown.value = new Map([...shown.peek(), ...batch]);
  }
  arrived.clear();
}

const ENDED: readonly string[] = ["prompt_finished", "prompt_failed", "prompt_lost", "prompt_removed", "prompt_moved"];

/** A run that has ended shows no progress. */
function hear({ kind, data }: LedgerEvent): void {
  if (kind === "batch_settled") inFrame(() => void runs.delete((data as { batch_id: string }).batch_id));
  if (!ENDED.includes(kind)) return;
  const { batch_id, prompt } = data as { batch_id: string; prompt: number };
  arrived.get(batch_id)?.delete(prompt);
  inFrame(() => {
    const shown = runsOf(batch_id);
    if (shown.peek().has(prompt)) shown.value = new Map([...shown.peek()].filter(([number]) => number !== prompt));
  });
}
