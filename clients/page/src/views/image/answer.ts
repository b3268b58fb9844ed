// An answer of the daemon that a component shows: asked for at once, and again when an event concerns it.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { LedgerEvent } from "comfyledger";
import { onBegin, onEvent } from "../../live";
import { refresher } from "../../live/refresh";

const PAUSE_MS = 250;

export interface Answered<T> {
  /** Undefined until it has come. What came stays, even if asking again fails. */
  value?: T;
  error?: unknown;
}

export interface Kept<T> extends Answered<T> {
  /** Puts in what another answer has said already, if the same is still asked for. */
  set: (value: T) => void;
}

/** `key` says what is asked for: another key forgets the answer to the one before. */
export function useAnswer<T>(
  key: string,
  work: () => Promise<T>,
  concerns: (event: LedgerEvent) => boolean,
): Kept<T> {
  const state = useSignal<Answered<T> & { key: string }>({ key });
  useEffect(() => {
    let isOver = false;
    const load = refresher(async () => {
      if (isOver) return;
      const { key: known, value } = state.peek();
      const before = known === key ? value : undefined;
      const found = await work().then(
        (value) => ({ key, value }),
        (error: unknown) => ({ key, value: before, error }),
      );
      if (!isOver) state.value = found;
    }, PAUSE_MS);
    load();
    const ends = [onEvent((event) => concerns(event) && load()), onBegin(load)];
    return () => {
      isOver = true;
      for (const end of ends) end();
    };
  }, [key]);
  const { value, error } = state.value.key === key ? state.value : {};
  return { value, error, set: (value) => void (state.peek().key === key && (state.value = { key, value })) };
}

/** Whether an event is about a batch: most events of a batch may change any of its images. */
export function isOf(batchId: string): (event: LedgerEvent) => boolean {
  return (event) => "batch_id" in event.data && event.data.batch_id === batchId;
}

/** Whether an event is about a batch, or requests something that is made from it or like it. */
export function isOfOrFrom(batchId: string): (event: LedgerEvent) => boolean {
  return (event) => isOf(batchId)(event) || (event.kind === "batch_requested" && isFrom(event, batchId));
}

function isFrom({ data: { origin, prompts } }: LedgerEvent<"batch_requested">, batchId: string): boolean {
  const isSource = prompts.some(({ loads = [] }) => loads.some(({ source }) => source?.batch_id === batchId));
  return isSource || origin?.batch_id === batchId;
}
