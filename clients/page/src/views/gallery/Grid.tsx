// All images of the list in a grid of which only the rows in sight exist. The keyboard stays on the grid itself and names
// the tile that it is at (aria-activedescendant), so that it survives the coming and going of tiles.
import { useCallback, useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Filter } from "../../live/image_filter";
import type { ImageList } from "../../live/image_list";
import type { Pages } from "../../live/image_pages";
import { gallery as texts } from "../../texts";
import { isWhole } from "./gaps";
import type { Geometry, Rows } from "./geometry";
import { useGridKeys } from "./keys";
import { useGridPointer } from "./pointer";
import { active } from "./selection";
import { Tile, tileId } from "./Tile";
import { showRow, topOf, useSight, type Sight } from "./window";

export interface GridProps {
  list: ImageList;
  pages: Pages;
  filter: Filter;
}

export function Grid({ list, pages, filter }: GridProps) {
  const grid = useRef<HTMLDivElement>(null);
  const want = useCallback(
    ({ geometry: { columns }, rows }: Sight) => {
      pages.want(rows.first * columns, (rows.last + 1) * columns - 1, active.peek());
      list.leftAt = list.anchor();
    },
    [pages],
  );
  const { geometry, rows } = useSight(grid, pages.count, want);
  usePlace(grid, list, pages, geometry);
  useEffect(() => () => pages.want(0, -1), [pages]);
  const at = Math.min(active.value, Math.max(0, geometry.shown - 1));
  const keys = useGridKeys({ grid, pages, filter, geometry, at });
  const pointer = useGridPointer(pages);
  const hasGaps = isWhole(filter);
  return (
    <div
      ref={grid}
      class="grid"
      role="grid"
      tabIndex={0}
      aria-label={texts.grid}
      aria-rowcount={geometry.rows}
      aria-colcount={geometry.columns}
      aria-multiselectable
      aria-activedescendant={tileId(at)}
      style={{ height: `${geometry.rows * geometry.rowHeight}px`, "--side": `${geometry.side}px` }}
      onKeyDown={keys}
      {...pointer}
    >
      {drawn(rows, Math.floor(at / geometry.columns), geometry).map((row) => (
        <div
          key={row}
          class="grid-row"
          role="row"
          aria-rowindex={row + 1}
          style={{ transform: `translateY(${row * geometry.rowHeight}px)` }}
        >
          {columnsOf(row, geometry).map((column) => (
            <Tile
              key={column}
              pages={pages}
              position={row * geometry.columns + column}
              column={column}
              filter={filter}
              hasGaps={hasGaps}
            />
          ))}
        </div>
      ))}
    </div>
  );
}

/** The rows in sight, and that of the keyboard. */
function drawn({ first, last }: Rows, activeRow: number, { rows }: Geometry): number[] {
  const shown = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
  return shown.includes(activeRow) || activeRow >= rows ? shown : [...shown, activeRow];
}

function columnsOf(row: number, { columns, shown }: Geometry): number[] {
  return Array.from({ length: Math.max(0, Math.min(columns, shown - row * columns)) }, (_, column) => column);
}

/** Keeps the place: when the list changes, and when the reader comes back from an image. */
function usePlace(grid: { current: HTMLElement | null }, list: ImageList, pages: Pages, geometry: Geometry): void {
  const leftAt = useRef(list.leftAt);
  const shownBefore = useRef(pages);
  const rowOf = (position: number) => Math.floor(position / geometry.columns);
  useEffect(() => {
    list.anchor = () => {
      const at = anchorAt(grid.current, geometry);
      return at === undefined ? undefined : pages.peek(at)?.image_id;
    };
    return () => (list.anchor = () => undefined);
  }, [list, pages, geometry.columns, geometry.rowHeight]);
  useLayoutEffect(() => {
    const { from, to } = pages.anchor;
    if (shownBefore.current !== pages) scrollBy(0, (rowOf(to) - rowOf(from)) * geometry.rowHeight);
  }, [pages]);
  useEffect(() => {
    const image = shownBefore.current.peek(active.peek());
    const isMoved = image !== undefined && active.peek() > 0 && shownBefore.current !== pages;
    shownBefore.current = pages;
    if (isMoved) pages.find(image.image_id).then((position = 0) => (active.value = position), ignore);
  }, [pages]);
  useEffect(() => {
    const { lastShown } = list;
    const id = lastShown ?? leftAt.current;
    if (id === undefined || geometry.rows === 0) return;
    list.lastShown = undefined;
    const show = (position: number | undefined) => {
      if (position === undefined) return;
      showRow(grid.current, geometry, rowOf(position), lastShown ? "middle" : "top");
      if (lastShown === undefined) return;
      active.value = position;
      grid.current?.focus({ preventScroll: true });
    };
    pages.find(id).then(show, ignore);
  }, [geometry.rows > 0]);
}

/** A page that cannot be had is reported by the list. */
function ignore(): void {}

/** The first place that is whole in sight; undefined at the top, where new images are welcome. */
function anchorAt(grid: HTMLElement | null, { columns, rowHeight }: Geometry): number | undefined {
  const top = topOf(grid);
  return top >= 0 ? undefined : Math.ceil(-top / rowHeight) * columns;
}
