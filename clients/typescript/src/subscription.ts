import { onAbort } from "./aborts.js";
import { backoffMs, pause, within } from "./deadline.js";
import { Feed } from "./feed.js";
import type { Pushed, Wanted } from "./events.js";
import type { Limits, Transport } from "./transport.js";

const DONE = { done: true, value: undefined } as const;

/** What a subscription has besides its events. */
export interface Course {
  /** Done before the first event; the subscription rejects with what this rejects with. */
  before: () => Promise<unknown>;
  /** Asked after each item that was read: whether it was the last. */
  isLast: (item: Pushed) => Promise<boolean>;
}

/**
 * What `subscribe` and `follow` give: iterate over it with `for await`.
 *
 * It continues after the last event over broken connections and restarts of the daemon, without gap or duplicate. It
 * rejects with Refused: `epoch_changed` after a restore, `not_running` if the daemon stays away longer than `timeoutS`
 * or the client is closed; and with the reason of the caller's signal. Leaving the loop, or `return()`, ends it at once,
 * also while a `next()` waits, and releases what it holds at the daemon.
 */
export class Subscription<E extends Pushed> implements AsyncIterableIterator<E> {
  readonly #transport: Transport;
  readonly #feed: Feed;
  readonly #limits: Limits;
  readonly #course: Course;
  readonly #over = new AbortController();
  #unlink: () => void = () => undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #previous: Pushed | undefined;
  #tries = 0;

  constructor(transport: Transport, wanted: Wanted, limits: Limits, course: Course) {
    this.#transport = transport;
    this.#feed = new Feed(wanted);
    this.#limits = { ...limits, signal: this.#over.signal };
    this.#course = course;
    const { signal } = limits;
    if (signal) this.#unlink = onAbort(signal, () => this.#end(signal.reason));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** One `next` after the other, also if the caller does not wait for them. */
  next(): Promise<IteratorResult<E, undefined>> {
    const next = this.#turn.then(() => this.#next());
    this.#turn = next.catch(() => undefined);
    return next;
  }

  async return(): Promise<IteratorResult<E, undefined>> {
    this.#end(DONE);
    return DONE;
  }

  async #next(): Promise<IteratorResult<E, undefined>> {
    const { signal } = this.#over;
    try {
      signal.throwIfAborted();
      const { before, isLast } = this.#course;
      const previous = this.#previous;
      if (previous === undefined) await within(signal, before());
      else if (await within(signal, isLast(previous))) throw DONE;
      const item = await this.#item(signal);
      this.#previous = item;
      return { done: false, value: item as E };
    } catch (error) {
      this.#end(DONE); // further calls of `next` say that it is done
      if (error === DONE) return DONE;
      throw error;
    }
  }

  async #item(signal: AbortSignal): Promise<Pushed> {
    for (;;) {
      const item = this.#feed.take();
      if (item !== undefined) {
        this.#tries = 0;
        return item;
      }
      if (this.#feed.isLive) await within(signal, this.#feed.changed());
      else await this.#begin(signal);
    }
  }

  /** Begins again after the last item; not at once where the last beginning brought nothing. */
  async #begin(signal: AbortSignal): Promise<void> {
    if (this.#tries > 0) await pause(backoffMs(this.#tries), signal);
    this.#tries += 1;
    await this.#transport.begin(this.#feed, this.#limits);
    if (signal.aborted) this.#feed.release(); // what began in the moment in which it was ended
  }

  /** Whatever waits is rejected with the reason. Only the first reason counts. */
  #end(reason: unknown): void {
    this.#over.abort(reason);
    this.#unlink();
    this.#feed.release();
  }
}
