// What a story tells, computed from the events that `explain` gives: sentences, attempts, and where the time went.
import type { Answer } from "comfyledger";
import { story as texts } from "../../texts";

export type Explained = Answer<"explain">;
export type PastEvent = Explained["events"][number];

/** Fields of any kind of event. */
interface Fields {
  attempt?: number;
  backend?: string;
  prompt?: number;
  image?: number;
  images?: readonly unknown[];
  code?: string;
}

export const TONES: Record<string, "good" | "bad" | "wait" | undefined> = {
  image_uploaded: "good",
  image_kept: "good",
  prompt_failed: "bad",
  prompt_refused: "bad",
  image_failed: "bad",
  image_lost: "bad",
  image_parked: "bad",
  prompt_lost: "wait",
  prompt_moved: "wait",
  prompt_removed: "wait",
  batch_held: "wait",
  lane_paused: "wait",
  files_waiting: "wait",
};

export function sentence(event: PastEvent): string {
  return texts.events[event.kind]?.(event.data) ?? event.kind.replaceAll("_", " ");
}

/** What ComfyUI, a store or a person said, if that is not erased. */
export function said(event: PastEvent): string {
  return Object.values(event.texts ?? {}).join(" ");
}

/** Images or prompts of a batch, by index. */
export interface About {
  of: "image" | "prompt";
  indexes: readonly number[];
}

/** Which images or prompt of a batch an event is about; undefined for the batch itself. */
export function about(event: PastEvent): About | undefined {
  const { image, images, prompt } = fields(event);
  if (image !== undefined) return { of: "image", indexes: [image] };
  const indexes = (images ?? []).filter((one): one is number => typeof one === "number");
  if (indexes.length > 0 && event.kind.startsWith("image_")) return { of: "image", indexes };
  return prompt === undefined ? undefined : { of: "prompt", indexes: [prompt] };
}

export interface Attempt {
  prompt: number;
  attempt: number;
  backend: string;
  fromMs: number;
  /** Undefined while it is under way. */
  toMs?: number;
  outcome: keyof typeof texts.outcomes;
}

const ENDS: Record<string, Attempt["outcome"]> = {
  prompt_finished: "finished",
  prompt_failed: "failed",
  prompt_refused: "refused",
  prompt_lost: "lost",
  prompt_removed: "removed",
  prompt_moved: "moved",
};

/** The attempts, in the order in which they began. */
export function attempts(events: readonly PastEvent[]): Attempt[] {
  const found = new Map<string, Attempt>();
  for (const event of events) {
    const { prompt = 0, attempt = 0, backend = "" } = fields(event);
    const key = `${prompt} ${attempt}`;
    if (event.kind === "prompt_submitting") {
      found.set(key, { prompt, attempt, backend, fromMs: event.at_ms, outcome: "open" });
    }
    const [one, outcome] = [found.get(key), ENDS[event.kind]];
    if (one && outcome && one.toMs === undefined) Object.assign(one, { toMs: event.at_ms, outcome });
  }
  return [...found.values()];
}

export interface Spent {
  kind: "pending" | "running" | "stored";
  text: string;
  ms: number;
}

const MARKS = ["batch_requested", "prompt_submitting", "prompt_finished", "image_uploaded"] as const;

/** How long an image waited, was rendered and was stored, as far as it got. A clock that was set back counts as 0. */
export function spent(events: readonly PastEvent[]): Spent[] {
  const first = new Map<string, number>();
  const last = new Map<string, number>();
  for (const { kind, at_ms } of events) {
    if (!first.has(kind)) first.set(kind, at_ms);
    last.set(kind, at_ms);
  }
  const [asked, sent] = MARKS.map((kind) => first.get(kind));
  const [, , rendered, stored] = MARKS.map((kind) => last.get(kind));
  const parts: [Spent["kind"], string, number | undefined, number | undefined][] = [
    ["pending", texts.waited, asked, sent],
    ["running", texts.rendered, sent, rendered],
    ["stored", texts.stored, rendered, stored],
  ];
  return parts.flatMap(([kind, text, from, to]) =>
    from === undefined || to === undefined ? [] : [{ kind, text, ms: Math.max(0, to - from) }],
  );
}

function fields(event: PastEvent): Fields {
  return event.data as Fields;
}
