// Forgetting images for ever: their files and texts here and, if a person says so, their files in the stores.
import { ask } from "../live";
import type { ImageInfo } from "./reviewing";

/** Forgets images, batch by batch. Rejects with Refused. What was forgotten before that stays forgotten. */
export async function forget(images: readonly ImageInfo[], stores: boolean): Promise<void> {
  for (const [batch_id, its] of byBatch(images)) {
    await ask("forget", { batch_id, images: its.map(({ index }) => index), stores });
  }
}

/** In the order in which the batches come. */
export function byBatch(images: readonly ImageInfo[]): Map<string, ImageInfo[]> {
  const found = new Map<string, ImageInfo[]>();
  for (const image of images) {
    const its = found.get(image.batch_id);
    if (its) its.push(image);
    else found.set(image.batch_id, [image]);
  }
  return found;
}

/** The stores that have a file of one of the images. */
export function storesOf(images: readonly ImageInfo[]): string[] {
  const uploads = images.flatMap((image) => image.uploads ?? []);
  return [...new Set(uploads.filter(({ state }) => state === "stored").map(({ store }) => store))].sort();
}

/** Forgotten images have nothing left to forget. */
export function isForgettable({ state }: ImageInfo): boolean {
  return state !== "forgetting" && state !== "forgotten";
}
