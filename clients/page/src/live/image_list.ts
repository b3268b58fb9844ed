// Lists of images for the gallery, and the neighbours of one image in them. There is one list at a time. It shows one
// moment: what comes later is counted in `newer` until somebody wants it, so that nothing moves under the reader's eyes.
import { batch, effect, signal } from "@preact/signals";
import { Refused, type LedgerEvent } from "comfyledger";
import { connection } from "./client";
import { onBegin, onEvent } from "./events";
import { chosen, filterKey, isVolatile, type Chosen, type Filter } from "./image_filter";
import { partsOf, timeOf } from "./image_order";
import { Pages } from "./image_pages";
import { countOnly, counted, listed, PAGE, type Counted, type Image } from "./image_requests";
import { refresher } from "./refresh";
import { session } from "../session/session";

export type { Image };

const PAUSE_MS = 300;
const COUNT_PAUSE_MS = 1_000;

let current: ImageList | undefined;
/** Who sees it. While a session is over, the list stays that of whoever had it. */
let seer = "";

/** The list of a filter; the one before is given up if it has another filter, or if somebody else has signed in. */
export function imageList(filter: Filter): ImageList {
  const { label, readAll } = session.peek() ?? {};
  if (label !== undefined) seer = JSON.stringify([label, readAll]);
  const key = `${seer} ${filterKey(filter)}`;
  if (current?.key !== key) {
    current?.close();
    current = new ImageList(key, filter);
  }
  return current;
}

export interface Neighbours {
  /** The image before it in the list: newer, or earlier in its batch. */
  before?: string;
  after?: string;
  /** From 0; -1 if the list does not have the image. */
  position: number;
  count: number;
}

/** The neighbours of an image among those of a filter. Rejects with Refused. */
export async function neighbours(filter: Filter, imageId: string): Promise<Neighbours> {
  const list = imageList(filter);
  list.lastShown = imageId;
  const pages = await list.having(imageId);
  const position = await pages.find(imageId);
  if (position === undefined) return { position: -1, count: pages.count };
  const [before, after] = await Promise.all([pages.fetch(position - 1), pages.fetch(position + 1)]);
  return { before: before?.image_id, after: after?.image_id, position, count: pages.count };
}

interface Waiting {
  resolve: (pages: Pages) => void;
  reject: (error: unknown) => void;
}

export class ImageList {
  readonly key: string;
  /** Undefined until the daemon has answered. */
  readonly pages = signal<Pages | undefined>(undefined);
  /** How many images came since. */
  readonly newer = signal(0);
  /** Why the list is not current. */
  readonly problem = signal<unknown>(undefined);
  /** Where the reader is when the gallery comes back: the image whose neighbours were asked for last. */
  lastShown: string | undefined;
  /** Or what was in sight at the top when the gallery went. */
  leftAt: string | undefined;
  /** Names the image that should stay at its place when the list changes. */
  anchor: () => string | undefined = () => undefined;
  readonly #fields: Chosen;
  readonly #isVolatile: boolean;
  readonly #ends: (() => void)[];
  /** The list has nothing of later batches; undefined if it is empty. */
  #untilMs: number | undefined;
  #wantsNewest = true;
  #isClosed = false;
  #waiting: Waiting[] = [];

  constructor(key: string, filter: Filter) {
    this.key = key;
    this.#fields = chosen(filter);
    this.#isVolatile = isVolatile(filter);
    this.#ends = [
      onEvent((event) => this.#hear(event)),
      onBegin(() => {
        this.#look();
        this.#count();
      }),
      effect(() => void (connection.value === "connected" && this.problem.peek() !== undefined && this.#look())),
    ];
    this.#look();
  }

  /** Makes the list anew, with all that came meanwhile. */
  showNewest(): void {
    this.#wantsNewest = true;
    this.#look();
  }

  /** The pages as they are, or as soon as they are there. Rejects if they cannot be had. */
  whole(): Promise<Pages> {
    const pages = this.pages.peek();
    if (pages) return Promise.resolve(pages);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** The pages with a certain image, which may have come after the list. */
  async having(imageId: string): Promise<Pages> {
    const pages = await this.whole();
    const [batchId] = partsOf(imageId);
    if (this.#untilMs !== undefined && timeOf(batchId) <= this.#untilMs) return pages;
    const renewed = new Promise<Pages>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.showNewest();
    return renewed;
  }

  close(): void {
    this.#isClosed = true;
    this.#ends.forEach((end) => end());
    this.pages.peek()?.close();
    this.#answer(({ reject }) => reject(new Refused("internal", "")));
  }

  readonly #look = refresher(async () => {
    if (this.#isClosed) return;
    // At the top new images are welcome; further down they would push away what the reader looks at.
    const isNewest = this.#wantsNewest || this.anchor() === undefined;
    this.#wantsNewest = false;
    try {
      const made = await this.#made(isNewest);
      if (!this.#isClosed) this.#show(made, isNewest);
    } catch (error) {
      this.#wantsNewest ||= isNewest;
      this.problem.value = error;
      this.#answer(({ reject }) => reject(error));
    }
  }, PAUSE_MS);

  readonly #count = refresher(async () => {
    const untilMs = this.#untilMs;
    if (this.#isClosed || untilMs === undefined) return;
    try {
      const newer = await countOnly({ ...this.#fields, since_ms: Math.max(untilMs + 1, this.#fields.since_ms ?? 0) });
      if (untilMs === this.#untilMs) this.newer.value = newer;
    } catch (error) {
      this.problem.value = error;
    }
  }, COUNT_PAUSE_MS);

  readonly #renew = refresher(async () => this.pages.peek()?.renew(), PAUSE_MS);

  /** Everything in the new list is there before it is shown, as far as it is looked at. */
  async #made(isNewest: boolean): Promise<Pages> {
    const first = isNewest ? await listed(this.#fields) : undefined;
    if (first) this.#untilMs = first[0] && timeOf(first[0].batch_id);
    const fields = this.#untilMs === undefined ? this.#fields : { ...this.#fields, until_ms: this.#untilMs };
    const all = first && first.length < PAGE ? { count: first.length, cursors: [""], pageSize: PAGE } : undefined;
    const known: Counted = all ?? (await counted(fields));
    const made = new Pages({
      fields,
      counted: known,
      first: known.pageSize === PAGE ? first : undefined,
      known: (imageId) => this.pages.peek()?.loaded(imageId),
      onDrift: () => this.#look(),
      onProblem: (error) => (this.problem.value = error),
    });
    await this.#prepare(made);
    return made;
  }

  /** Loads what will be in sight. Without an anchor the reader is at the top, or nobody looks. */
  async #prepare(made: Pages): Promise<void> {
    const pages = this.pages.peek();
    const anchor = this.anchor();
    if (pages === undefined) return;
    const { first, last } = pages.sight;
    const [from, to] = anchor === undefined ? [] : await Promise.all([pages.find(anchor), made.find(anchor)]);
    if (from !== undefined && to !== undefined) made.anchor = { from, to };
    const shift = made.anchor.to - made.anchor.from;
    await made.prefetch(first + shift, last + shift);
  }

  #show(made: Pages, isNewest: boolean): void {
    this.pages.peek()?.close();
    batch(() => {
      this.pages.value = made;
      this.problem.value = undefined;
      if (isNewest) this.newer.value = 0;
    });
    this.#answer(({ resolve }) => resolve(made));
  }

  #answer(give: (waiting: Waiting) => void): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    waiting.forEach(give);
  }

  #hear({ kind, data }: LedgerEvent): void {
    if (!("batch_id" in data)) return;
    const isKept = this.pages.peek()?.touch(data.batch_id as string) ?? false;
    if (isKept) this.#renew();
    if (this.#untilMs === undefined) return this.showNewest();
    if (timeOf(data.batch_id as string) > this.#untilMs) {
      if (kind === "batch_requested" || this.#isVolatile) this.#count();
    } else if (this.#isVolatile) this.#look();
  }
}
