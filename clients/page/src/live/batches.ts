// The batches that are open, each in a signal of its own, so that a change of one renders one. Events say when to ask
// again; the daemon's answer says what holds. Nothing is asked while no view shows them.
import { signal, type Signal } from "@preact/signals";
import type { Answer, LedgerEvent } from "comfyledger";
import { useEffect } from "preact/hooks";
import { ask } from "./client";
import { onBegin, onEvent } from "./events";
import { inFrame } from "./frames";
import { refresher } from "./refresh";

export type Batch = Answer<"list_batches">["batches"][number];

const PAUSE_MS = 250;
const PAGE = 500;
/** The page keeps no more; the heading says that there are more. */
const OPEN_MAX = 2_000;
const RECENT_MAX = 6;

/** Newest first; undefined until the daemon has answered. */
export const openBatches = signal<readonly Signal<Batch>[] | undefined>(undefined);
/** Whether there are more than the page keeps. */
export const hasMoreOpen = signal(false);
/** Batches that were settled while the page looked, newest first. */
export const recentBatches = signal<readonly Batch[]>([]);
/** Why the batches could not be asked for. */
export const batchesProblem = signal<unknown>(undefined);

const known = new Map<string, Signal<Batch>>();
let watchers = 0;

/** Keeps the batches current while a component is there. */
export function useOpenBatches(): void {
  useEffect(() => {
    watchers += 1;
    refreshBatches();
    return () => void (watchers -= 1);
  }, []);
}

/** Asks soon, if a view shows them. */
export const refreshBatches = refresher(async () => {
  if (watchers === 0) return;
  try {
    const { batches, more } = await listed();
    inFrame(() => take(batches, more));
  } catch (error) {
    if (openBatches.peek() === undefined) batchesProblem.value = error;
  }
}, PAUSE_MS);

/** Hears of changes. Call it once. */
export function followBatches(): void {
  onBegin(refreshBatches);
  onEvent(hear);
}

async function listed(): Promise<{ batches: Batch[]; more: boolean }> {
  const batches: Batch[] = [];
  let before: string | undefined;
  for (;;) {
    const page = await ask("list_batches", { open_only: true, limit: PAGE, ...(before ? { before } : {}) });
    batches.push(...page.batches);
    before = page.next_cursor;
    if (!page.more || !before || batches.length >= OPEN_MAX) return { batches, more: page.more };
  }
}

function take(batches: readonly Batch[], more: boolean): void {
  const ids = new Set(batches.map(({ batch_id }) => batch_id));
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
  const list = batches.map(kept);
  const before = openBatches.peek();
  const isSame = before?.length === list.length && list.every((one, index) => one === before[index]);
  if (!isSame) openBatches.value = list;
  hasMoreOpen.value = more;
  batchesProblem.value = undefined;
}

/** The signal of a batch; it changes only if the batch has. */
function kept(batch: Batch): Signal<Batch> {
  const found = known.get(batch.batch_id);
  if (found === undefined) {
    const made = signal(batch);
    known.set(batch.batch_id, made);
    return made;
  }
  if (JSON.stringify(found.peek()) !== JSON.stringify(batch)) found.value = batch;
  return found;
}

function hear(event: LedgerEvent): void {
  if (!("batch_id" in event.data)) return;
  if (event.kind === "batch_settled") remember(event);
  refreshBatches();
}

/** A settled batch is no longer among the open ones; the event has its last counts. One that was over before the page
 * had heard of it is asked for. */
function remember({ data }: LedgerEvent<"batch_settled">): void {
  const batch = known.get(data.batch_id)?.peek();
  if (batch !== undefined) keepRecent({ ...batch, status: "settled", pending: 0, kept: 0, ...data });
  else if (watchers > 0) ask("get_batch", { batch_id: data.batch_id }).then(keepRecent, () => undefined);
}

/** Without its images, of which there may be many. */
function keepRecent({ images: _, ...batch }: Batch): void {
  const others = recentBatches.peek().filter(({ batch_id }) => batch_id !== batch.batch_id);
  inFrame(() => (recentBatches.value = [batch, ...others].slice(0, RECENT_MAX)));
}
