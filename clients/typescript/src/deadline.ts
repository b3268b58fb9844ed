import { onAbort } from "./aborts.js";
import { Refused } from "./refused.js";

/** What every call takes. */
export interface CallOptions {
  /** Ends the call: it is rejected with the signal's reason. The request may have been done all the same. */
  signal?: AbortSignal;
  /**
   * Seconds for the whole call, reconnecting included; Infinity for no limit. Default: `timeoutS` of the client. Only
   * the default gets longer while the daemon waits for a store (see `onWaiting`).
   */
  timeoutS?: number;
}

/** The longest time of a timer (HTML standard, timers; a longer one ends at once). */
const TIMER_MS_MAX = 2 ** 31 - 1;
const DELAY_MIN_MS = 100;
const DELAY_MAX_MS = 5_000;

/** When a call ends at the latest: after a time, or by the caller's signal. Call `clear` when the call is over. */
export class Deadline {
  readonly #over = new AbortController();
  readonly #unlink: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #late: Refused | undefined;

  constructor(timeoutS: number, outer?: AbortSignal) {
    this.extend(timeoutS);
    this.#unlink = outer ? onAbort(outer, () => this.stop(outer.reason)) : () => undefined;
  }

  /** Aborted at the end, with a Refused (`timeout`) or with the reason of the caller's signal. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Whether the time is over. False if the caller's signal ended the call. */
  get isLate(): boolean {
    return this.signal.aborted && this.signal.reason === this.#late;
  }

  /** Ends the call now. */
  stop(reason: unknown): void {
    this.#over.abort(reason);
  }

  /** From now on, so many seconds are left. */
  extend(timeoutS: number): void {
    clearTimeout(this.#timer);
    if (timeoutS * 1_000 <= TIMER_MS_MAX) this.#timer = setTimeout(() => this.#end(), timeoutS * 1_000);
  }

  #end(): void {
    const hint = "The request may have been done. Send it again with the same body.";
    this.#late = new Refused("timeout", "No answer came in time.", { hint });
    this.stop(this.#late);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#unlink();
  }
}

/** Waits. Rejects with the signal's reason when that is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return within(signal, new Promise<void>((resolve) => setTimeout(resolve, ms)));
}

/** A promise that also ends with a signal: it is then rejected with the signal's reason. */
export function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const unlink = onAbort(signal, () => reject(signal.reason));
    promise.then(resolve, reject).finally(unlink);
  });
}

/** How long to wait before a further try, in milliseconds. `tries`: how many there were, from 1. Clients spread out. */
export function backoffMs(tries: number): number {
  const most = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** Math.min(tries - 1, 16));
  return most * (0.5 + Math.random() / 2);
}
