import type { Pushed, Wanted } from "./events.js";
import type { Subscribe } from "./wire.js";

/** Events of one subscription that wait for their reader. The log holds the rest. */
export const EVENTS_WAITING_MAX = 1_000;
/** Above so many waiting items, progress and previews are dropped: they are of use at once or never. */
const LIVE_WAITING_MAX = 32;

/**
 * What one reader wants, where it has come to, and what waits for it, across connections.
 *
 * A transport puts items into it while it is live. When the connection breaks or there is no more room, the transport
 * calls `stopped`, and the reader, once it has read what waits, has it begin again after the last position.
 */
export class Feed {
  readonly #wanted: Wanted;
  readonly #items: Pushed[] = [];
  #after: number;
  #epoch: string | null;
  #wake: (() => void) | undefined;
  /** Whether a transport puts items into it now. */
  isLive = false;
  /** Ends what the transport holds for it; set by the transport while the feed is live. */
  release: () => void = () => undefined;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
    this.#after = wanted.after ?? 0;
    this.#epoch = wanted.epoch ?? null;
  }

  /**
   * The request that continues after the last item. Once the epoch is known it is part of the request, also at position
   * 0: a ledger that was restored meanwhile refuses it as `epoch_changed`.
   */
  get request(): Subscribe {
    const { kinds, ...rest } = this.#wanted;
    const named = kinds ? { kinds: [...kinds] } : {};
    return { ...rest, ...named, after: this.#after, ...(this.#epoch === null ? {} : { epoch: this.#epoch }) };
  }

  /** The subscription has begun in this epoch, after this position. */
  begun(epoch: string, position: number, release: () => void): void {
    this.#epoch = epoch;
    if (this.#after < 0) this.#after = position;
    this.isLive = true;
    this.release = release;
  }

  stopped(): void {
    this.isLive = false;
    this.release = () => undefined;
    this.#wake?.();
  }

  /** False if an event has no room. Progress and previews without room are dropped. */
  put(item: Pushed): boolean {
    if ("position" in item) {
      if (this.#items.length >= EVENTS_WAITING_MAX) return false;
      this.#after = item.position;
      this.#items.push(item);
    } else if (this.#items.length < LIVE_WAITING_MAX) {
      this.#items.push(item);
    }
    this.#wake?.();
    return true;
  }

  take(): Pushed | undefined {
    return this.#items.shift();
  }

  /** Waits until an item was put or the feed was stopped. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
