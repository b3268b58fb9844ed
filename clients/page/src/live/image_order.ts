// The order of every list of images: newest batch first, in a batch by index. A batch id is a ULID, which begins with
// the milliseconds of its time (github.com/ulid/spec), so later ids are greater texts.

const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARS = 10;

/** `BATCH/3` → ["BATCH", 3]. */
export function partsOf(imageId: string): [string, number] {
  const at = imageId.lastIndexOf("/");
  return [imageId.slice(0, at), Number(imageId.slice(at + 1))];
}

/** Below 0 if the first image comes before the second. */
export function compareImages(first: string, second: string): number {
  const [firstBatch, firstIndex] = partsOf(first);
  const [secondBatch, secondIndex] = partsOf(second);
  if (firstBatch === secondBatch) return firstIndex - secondIndex;
  return firstBatch > secondBatch ? -1 : 1;
}

/** When a batch was made, in milliseconds since 1970. */
export function timeOf(batchId: string): number {
  return [...batchId.slice(0, TIME_CHARS)].reduce((ms, digit) => ms * DIGITS.length + DIGITS.indexOf(digit), 0);
}

/** The page that has an image, if any has: cursor k is the last image before page k. */
export function pageOf(cursors: readonly string[], imageId: string): number {
  let low = 0;
  let high = cursors.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (compareImages(cursors[middle] ?? "", imageId) < 0) low = middle;
    else high = middle - 1;
  }
  return low;
}
