import { within } from "./deadline.js";

/**
 * So many things at once; others wait for their turn. `fetch` of Node would open a connection for each, and a daemon
 * that gets hundreds at once closes those that have not shown their token yet.
 */
export class Turns {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(most: number) {
    this.#free = most;
  }

  /** Rejects with the signal's reason if that is aborted before the turn comes. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#turn(signal);
    try {
      return await work();
    } finally {
      this.#done();
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    let begin!: () => void;
    const turn = new Promise<void>((resolve) => (begin = resolve));
    this.#waiting.add(begin);
    try {
      await within(signal, turn);
    } catch (error) {
      if (!this.#waiting.delete(begin)) this.#done(); // the turn came in the same moment
      throw error;
    }
  }

  /** Gives the turn to the one that has waited longest. */
  #done(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
    } else {
      this.#waiting.delete(next);
      next();
    }
  }
}
