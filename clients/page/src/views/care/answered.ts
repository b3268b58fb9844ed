// Something that is asked of the daemon when a component appears, and again when it may have changed.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { LedgerEvent } from "comfyledger";
import { onBegin, onEvent } from "../../live";
import { refresher } from "../../live/refresh";

export interface Answered<T> {
  /** The last answer; undefined at first. */
  value: T | undefined;
  /** Why there is none. */
  problem: unknown;
  again: () => void;
}

const PAUSE_MS = 1_000;

/** `of`: asks anew when it changes. `when`: the events after which the answer may be another one. */
export function useAnswer<T>(
  work: () => Promise<T>,
  of: string,
  when: (event: LedgerEvent) => boolean = () => false,
): Answered<T> {
  const found = useSignal<{ of: string; value?: T; problem?: unknown }>({ of });
  const again = useMemo(() => {
    return refresher(async () => {
      try {
        found.value = { of, value: await work() };
      } catch (problem) {
        // What was there stays: the banner says that the daemon is away.
        if (found.peek().value === undefined || found.peek().of !== of) found.value = { of, problem };
      }
    }, PAUSE_MS);
  }, [of]);
  useEffect(() => {
    again();
    const ends = [onEvent((event) => when(event) && again()), onBegin(again)];
    return () => ends.forEach((end) => end());
  }, [again]);
  const { value, problem } = found.value.of === of ? found.value : {};
  return { value, problem, again };
}
