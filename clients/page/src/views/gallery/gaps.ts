// Numbers of a series that no image has, found between the images around them. Batches come newest first and have
// consecutive numbers, so what is missing below a batch shows at its first image.
import type { Filter } from "../../live/image_filter";
import type { Pages } from "../../live/image_pages";
import type { Image } from "../../live/image_list";

const LOOK_MAX = 400;

export interface Gap {
  from: number;
  to: number;
}

/** Whether the list has everything of the series that it has anything of, so that a number can be missing. */
export function isWhole(filter: Filter): boolean {
  const names = Object.keys(filter);
  return Boolean(filter.user && filter.character) && names.every((name) => WHOLE.includes(name));
}

const WHOLE: readonly string[] = ["user", "character", "medium"];

/** The numbers between the batch that begins at a place and the images of its series before it; undefined if none. */
export function gapAt(pages: Pages, position: number): Gap | undefined {
  const first = pages.at(position);
  if (first === undefined || pages.at(position - 1)?.batch_id === first.batch_id) return undefined;
  const series = seriesOf(first);
  let older: Image | undefined;
  for (let at = position + 1; at < position + LOOK_MAX; at += 1) {
    const image = pages.at(at);
    if (image === undefined) {
      if (at < pages.count) return undefined; // not loaded yet
      break;
    }
    if (image.batch_id === first.batch_id || seriesOf(image) !== series) continue;
    if (older && image.batch_id !== older.batch_id) break;
    older = image;
  }
  const from = (older?.number ?? 0) + 1;
  return from < first.number ? { from, to: first.number - 1 } : undefined;
}

/** What stands before the number in its name, folder included. */
function seriesOf({ public_id }: Image): string {
  return public_id.replace(/\d+$/, "");
}
