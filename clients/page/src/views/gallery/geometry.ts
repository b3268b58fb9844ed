// Where tiles lie: every row is as high as the others, so a place is arithmetic and nothing has to be measured.

const GAP = 8;
const TILE_MIN = 168;
const TILE_MIN_NARROW = 100;
const NARROW = 520;
/** The line below a picture. */
const LINE = 30;
/** Rows above and below the visible ones that are drawn as well. */
const SPARE_ROWS = 2;
/** Browsers place nothing far below 17 million pixels. */
const HEIGHT_MAX = 15_000_000;

export interface Geometry {
  columns: number;
  /** Width and height of a picture. */
  side: number;
  rowHeight: number;
  rows: number;
  /** Images that have a place; a filter shows the others. */
  shown: number;
}

/** `width`: of the grid, in pixels. */
export function geometryOf(width: number, count: number): Geometry {
  const least = width < NARROW ? TILE_MIN_NARROW : TILE_MIN;
  const columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  const side = Math.floor((width - GAP * (columns - 1)) / columns);
  const rowHeight = side + LINE + GAP;
  const rows = Math.min(Math.ceil(count / columns), Math.floor(HEIGHT_MAX / rowHeight));
  return { columns, side, rowHeight, rows, shown: Math.min(count, rows * columns) };
}

export interface Rows {
  first: number;
  /** Inclusive; below `first` if there is none. */
  last: number;
}

/** The rows to draw. `top`: of the grid below the top of the window, negative when scrolled. */
export function rowsAt({ rowHeight, rows }: Geometry, top: number, windowHeight: number): Rows {
  const first = Math.floor(-top / rowHeight) - SPARE_ROWS;
  const last = Math.floor((windowHeight - top) / rowHeight) + SPARE_ROWS;
  return { first: Math.min(Math.max(0, first), Math.max(0, rows - 1)), last: Math.min(rows - 1, last) };
}

/** Where a key leads from a place; undefined if it does not lead anywhere. `page`: rows of a screen. */
export function moved(key: string, from: number, { columns, shown }: Geometry, page: number): number | undefined {
  const steps: Record<string, number> = {
    ArrowLeft: from - 1,
    ArrowRight: from + 1,
    ArrowUp: from - columns,
    ArrowDown: from + columns,
    PageUp: from - page * columns,
    PageDown: from + page * columns,
    Home: 0,
    End: shown - 1,
  };
  const to = steps[key];
  if (to === undefined || shown === 0) return undefined;
  const isOver = to < 0 || to >= shown;
  if (isOver && !key.startsWith("Page")) return key === "ArrowDown" && from < shown - 1 ? shown - 1 : from;
  return Math.min(Math.max(0, to), shown - 1);
}
