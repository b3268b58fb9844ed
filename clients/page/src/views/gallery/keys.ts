// The grid without a mouse: arrows and their kin move, shift selects on the way, space selects, enter opens.
import type { Filter } from "../../live/image_filter";
import type { Image } from "../../live/image_list";
import type { Pages } from "../../live/image_pages";
import { go, href } from "../../route";
import { gallery as texts } from "../../texts";
import { tell } from "../../ui/messages";
import { moved, type Geometry } from "./geometry";
import { active, beginRange, clearSelection, hasSelection, selectTo, toggle } from "./selection";
import { showRow } from "./window";

export interface GridKeys {
  grid: { current: HTMLElement | null };
  pages: Pages;
  filter: Filter;
  geometry: Geometry;
  /** Where the keyboard is. */
  at: number;
}

export function useGridKeys(keys: GridKeys): (event: KeyboardEvent) => void {
  return (event) => {
    if (event.target !== keys.grid.current || event.altKey || event.metaKey) return;
    if (pressed(keys, event)) event.preventDefault();
  };
}

/** Whether the key meant something. */
function pressed(keys: GridKeys, event: KeyboardEvent): boolean {
  const { filter, at } = keys;
  if (event.key === " ") {
    withImage(keys, (image) => toggle(image, at));
  } else if (event.key === "Enter") {
    withImage(keys, (image) => go(href("image", [image.batch_id, image.index], filter)));
  } else if (event.key === "Escape") {
    if (!hasSelection.peek()) return false;
    clearSelection();
  } else return moveBy(keys, event);
  return true;
}

/** Does something with the image that the keyboard is at: at once, or when it has come, if the keyboard is still there. */
function withImage({ grid, pages, at }: GridKeys, act: (image: Image) => void): void {
  const image = pages.peek(at);
  if (image) return act(image);
  const isThere = () => active.peek() === at && grid.current === document.activeElement;
  pages.fetch(at).then((late) => late && isThere() && act(late), () => undefined); // the list says what is wrong
}

function moveBy({ grid, pages, geometry, at }: GridKeys, { key, shiftKey }: KeyboardEvent): boolean {
  const page = Math.max(1, Math.floor(innerHeight / geometry.rowHeight) - 1);
  const to = moved(key, at, geometry, page);
  if (to === undefined) return false;
  if (shiftKey) {
    if (!hasSelection.peek()) beginRange(at);
    void selectTo(pages, to).then((isWhole) => isWhole || tell(texts.selectedMax));
  }
  active.value = to;
  showRow(grid.current, geometry, Math.floor(to / geometry.columns));
  return true;
}
