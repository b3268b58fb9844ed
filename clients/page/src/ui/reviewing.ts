// What a person thinks of images: verdict and rating, given and taken back. ReviewControls shows it; the gallery and the
// large view both act through this.
import type { Answer } from "comfyledger";
import { ask } from "../live";
import { review as texts } from "../texts";
import type { Done } from "./actions";

export type ImageInfo = Answer<"get_image">;
export type Verdict = "approved" | "rejected" | "none";

/** What is missing stays as it is. */
export interface Change {
  verdict?: Verdict;
  rating?: number;
}

/** `review` takes so many at once. */
const AT_ONCE = 500;
const HAS_NO_FILE: readonly string[] = ["forgetting", "forgotten"];

/** Whether there is a file to be judged by. */
export function isReviewable({ sha256, state }: ImageInfo): boolean {
  return Boolean(sha256) && !HAS_NO_FILE.includes(state);
}

/** The value that all images have; undefined if they differ, or if there is none. */
export function same<T>(images: readonly ImageInfo[], valueOf: (image: ImageInfo) => T): T | undefined {
  const values = new Set(images.map(valueOf));
  return values.size === 1 ? [...values][0] : undefined;
}

export function verdictOf({ verdict }: ImageInfo): Verdict {
  return verdict || "none";
}

/** Gives images a verdict or a rating. `took` gets them as they are then, also after an undo. Rejects with Refused. */
export async function reviewed(
  images: readonly ImageInfo[],
  change: Change,
  took: (images: ImageInfo[]) => void,
): Promise<Done> {
  const before = groups(images, change);
  took(await review(images, change));
  return { text: sentence(images.length, change), undo: async () => took(await back(before)) };
}

/** Rejects images and forgets them. `stores`: also in the stores. It cannot be taken back. */
export async function rejectAndForget(images: readonly ImageInfo[], stores: boolean): Promise<ImageInfo[]> {
  return review(images, { verdict: "rejected", forget: true, stores });
}

type Asked = Change & { forget?: boolean; stores?: boolean };

async function review(images: readonly ImageInfo[], asked: Asked): Promise<ImageInfo[]> {
  const after: ImageInfo[] = [];
  for (let at = 0; at < images.length; at += AT_ONCE) {
    const [first, ...others] = images.slice(at, at + AT_ONCE).map(({ image_id }) => image_id);
    if (first !== undefined) after.push(...(await ask("review", { images: [first, ...others], ...asked })).images);
  }
  return after;
}

interface Group {
  was: Change;
  images: ImageInfo[];
}

/** The images by what they had of what changes. */
function groups(images: readonly ImageInfo[], change: Change): Group[] {
  const found = new Map<string, Group>();
  for (const image of images) {
    const was: Change = {
      ...(change.verdict !== undefined && { verdict: verdictOf(image) }),
      ...(change.rating !== undefined && { rating: image.rating ?? 0 }),
    };
    const key = JSON.stringify(was);
    const group = found.get(key);
    if (group) group.images.push(image);
    else found.set(key, { was, images: [image] });
  }
  return [...found.values()];
}

async function back(before: readonly Group[]): Promise<ImageInfo[]> {
  const after: ImageInfo[] = [];
  for (const { was, images } of before) after.push(...(await review(images, was)));
  return after;
}

function sentence(count: number, { verdict, rating }: Change): string {
  return verdict === undefined ? texts.rated(count, rating ?? 0) : texts.done[verdict](count);
}
