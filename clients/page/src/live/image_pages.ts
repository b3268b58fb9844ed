// A list of images at one moment: how many there are, and those of its pages that somebody looks at. Pages that nobody
// looks at any more are not waited for, and only so many are kept, so that a long list costs no more than a short one.
import { batch, signal, type Signal } from "@preact/signals";
import type { Chosen } from "./image_filter";
import { pageOf } from "./image_order";
import { listed, type Counted, type Image } from "./image_requests";

const PAGES_MAX = 40;
const LOADS_MAX = 2;
/** Signed addresses of thumbnails end after hours. */
const FRESH_MS = 3_600_000;

type Loaded = readonly Image[];

interface Load {
  stop: AbortController;
  images: Promise<Loaded>;
  /** Somebody waits for it, whether it is looked at or not. */
  isHeld: boolean;
}

export interface PagesOptions {
  fields: Chosen;
  counted: Counted;
  /** The first page, if it is known. */
  first?: Loaded;
  /** Images that were loaded before, by id. */
  known?: (imageId: string) => Image | undefined;
  /** Pages and count no longer fit together: the list has changed. */
  onDrift: () => void;
  onProblem: (error: unknown) => void;
}

export class Pages {
  readonly count: number;
  /** Where the image was and is that should stay at its place when these pages replace others. */
  anchor = { from: 0, to: 0 };
  readonly #options: PagesOptions;
  readonly #cursors: readonly string[];
  readonly #size: number;
  readonly #shown = new Map<number, Signal<Loaded | undefined>>();
  /** When each kept page came, the oldest first. */
  readonly #cameMs = new Map<number, number>();
  readonly #stale = new Set<number>();
  readonly #loads = new Map<number, Load>();
  #wanted: readonly number[] = [];
  /** The places that are looked at. */
  sight = { first: 0, last: -1 };

  constructor(options: PagesOptions) {
    this.#options = options;
    this.count = options.counted.count;
    this.#cursors = options.counted.cursors;
    this.#size = options.counted.pageSize;
    if (options.first) this.#keep(0, options.first);
  }

  /** The image at a place, from 0; undefined until its page has come. Components that ask hear of changes. */
  at(position: number): Image | undefined {
    return this.#page(Math.floor(position / this.#size)).value?.[position % this.#size];
  }

  /** As `at`, without hearing of changes. */
  peek(position: number): Image | undefined {
    return this.#shown.get(Math.floor(position / this.#size))?.peek()?.[position % this.#size];
  }

  /** Says which places are looked at, and where the keyboard is: their pages come, others no longer. */
  want(first: number, last: number, active?: number): void {
    const [low, high] = [Math.max(0, first), Math.min(last, this.count - 1)];
    const others = active === undefined || active >= this.count ? [] : this.#pagesOf(active, active);
    const pages = [...new Set([...this.#pagesOf(low, high), ...others])];
    this.sight = { first: low, last: high };
    this.#wanted = pages;
    for (const [page, load] of this.#loads) if (!load.isHeld && !pages.includes(page)) this.#stop(page, load);
    this.#pump((page) => this.#isDue(page));
  }

  /** The image at a place, loaded if need be. */
  async fetch(position: number): Promise<Image | undefined> {
    if (position < 0 || position >= this.count) return undefined;
    return (await this.#fetchPage(Math.floor(position / this.#size)))[position % this.#size];
  }

  /** The place of an image; undefined if it is not in the list. */
  async find(imageId: string): Promise<number | undefined> {
    if (this.count === 0) return undefined;
    const page = pageOf(this.#cursors, imageId);
    const at = (await this.#fetchPage(page)).findIndex((image) => image.image_id === imageId);
    return at < 0 ? undefined : page * this.#size + at;
  }

  /** Resolves when these places are there. */
  async prefetch(first: number, last: number): Promise<void> {
    const [low, high] = [Math.max(0, first), Math.min(last, this.count - 1)];
    await Promise.all(this.#pagesOf(low, high).map((page) => this.#fetchPage(page)));
  }

  /** A loaded image. */
  loaded(imageId: string): Image | undefined {
    const images = this.#shown.get(pageOf(this.#cursors, imageId))?.peek();
    return images?.find((image) => image.image_id === imageId);
  }

  /** Images of a batch have changed: what is looked at is loaded again, the rest is dropped. Whether any is kept. */
  touch(batchId: string): boolean {
    const coming = [...this.#loads.keys()];
    const kept = [...this.#cameMs.keys()].filter((page) => this.#has(page, batchId));
    for (const page of kept) {
      if (this.#wanted.includes(page)) this.#stale.add(page);
      else this.#drop(page);
    }
    // What is on its way may have been read before the change.
    for (const page of coming) this.#stale.add(page);
    return coming.length + kept.length > 0;
  }

  /** Loads again what is stale and looked at. Call it with pauses: a busy batch changes many times a second. */
  async renew(): Promise<void> {
    const pages = this.#wanted.filter((page) => this.#isDue(page));
    await Promise.all(pages.map((page) => this.#renewPage(page).catch(() => undefined)));
  }

  /** What is on its way when its page becomes stale does not count. */
  async #renewPage(page: number): Promise<void> {
    await this.#loads.get(page)?.images;
    if (this.#wanted.includes(page) && this.#isDue(page)) await this.#load(page).images;
  }

  /** Nobody looks at it any more. */
  close(): void {
    for (const [page, load] of this.#loads) if (!load.isHeld) this.#stop(page, load);
    this.#wanted = [];
  }

  #page(page: number): Signal<Loaded | undefined> {
    let found = this.#shown.get(page);
    if (found === undefined) this.#shown.set(page, (found = signal<Loaded | undefined>(undefined)));
    return found;
  }

  #pagesOf(first: number, last: number): number[] {
    const pages: number[] = [];
    for (let page = Math.floor(first / this.#size); page * this.#size <= last; page += 1) pages.push(page);
    return pages;
  }

  #has(page: number, batchId: string): boolean {
    const images = this.#shown.get(page)?.peek() ?? [];
    const [first, last] = [images[0], images[images.length - 1]];
    return first !== undefined && last !== undefined && first.batch_id >= batchId && batchId >= last.batch_id;
  }

  #isDue(page: number): boolean {
    return !this.#cameMs.has(page) || this.#stale.has(page) || this.#isOld(page);
  }

  #isOld(page: number): boolean {
    return this.#shown.get(page)?.peek()?.some((image) => !isFresh(image)) ?? true;
  }

  #pump(isDue: (page: number) => boolean): void {
    for (const page of this.#wanted) {
      if (this.#loads.size >= LOADS_MAX) return;
      if (isDue(page) && !this.#loads.has(page)) this.#load(page);
    }
  }

  async #fetchPage(page: number): Promise<Loaded> {
    const known = this.#shown.get(page)?.peek();
    if (known && !this.#isDue(page)) return known;
    const load = this.#load(page);
    load.isHeld = true;
    return load.images;
  }

  #load(page: number): Load {
    const before = this.#loads.get(page);
    if (before) return before;
    const stop = new AbortController();
    const asked = { before: this.#cursors[page], limit: this.#size };
    const images = listed(this.#options.fields, asked, { signal: stop.signal });
    const load = { stop, images, isHeld: false };
    this.#loads.set(page, load);
    this.#stale.delete(page);
    images.then(
      (loaded) => this.#came(page, load, loaded),
      (error: unknown) => this.#failed(page, load, error),
    );
    return load;
  }

  #came(page: number, load: Load, loaded: Loaded): void {
    if (this.#loads.get(page) !== load) return;
    this.#loads.delete(page);
    this.#keep(page, loaded);
    const next = this.#cursors[page + 1];
    const last = loaded[loaded.length - 1]?.image_id;
    const isEnd = page === this.#cursors.length - 1;
    if (isEnd ? page * this.#size + loaded.length !== this.count : last !== next) this.#options.onDrift();
    this.#pump((wanted) => !this.#cameMs.has(wanted));
  }

  #failed(page: number, load: Load, error: unknown): void {
    if (this.#loads.get(page) !== load) return;
    this.#loads.delete(page);
    this.#options.onProblem(error);
  }

  #stop(page: number, load: Load): void {
    this.#loads.delete(page);
    load.stop.abort();
  }

  /** An image that is as before stays the same object, so that its tile is not drawn again. */
  #keep(page: number, loaded: Loaded): void {
    const shown = this.#page(page);
    const before = new Map(shown.peek()?.map((image) => [image.image_id, image]));
    shown.value = loaded.map((image) => same(before.get(image.image_id) ?? this.#options.known?.(image.image_id), image));
    this.#cameMs.delete(page);
    this.#cameMs.set(page, performance.now());
    const spare = [...this.#cameMs.keys()].filter((kept) => !this.#wanted.includes(kept) && kept !== page);
    batch(() => spare.slice(0, Math.max(0, this.#cameMs.size - PAGES_MAX)).forEach((kept) => this.#drop(kept)));
  }

  /** The signal stays: whoever draws a place of the page hears when it comes again. */
  #drop(page: number): void {
    this.#cameMs.delete(page);
    this.#stale.delete(page);
    const shown = this.#shown.get(page);
    if (shown) shown.value = undefined;
  }
}

const cameMs = new WeakMap<Image, number>();

function isFresh(image: Image): boolean {
  return performance.now() - (cameMs.get(image) ?? -Infinity) < FRESH_MS;
}

/** Signed addresses are new in each answer; as long as the old ones hold, they say nothing new. */
function same(before: Image | undefined, after: Image): Image {
  if (before && isFresh(before) && withoutUrls(before) === withoutUrls(after)) return before;
  cameMs.set(after, performance.now());
  return after;
}

function withoutUrls({ file_url, thumbnail_url, thumbnail_large_url, ...image }: Image): string {
  return JSON.stringify([image, !file_url, !thumbnail_url, !thumbnail_large_url]);
}
