// Which rows are in sight. The page itself scrolls, so this follows the document; it changes a signal only when other
// rows come into sight.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useState } from "preact/hooks";
import { geometryOf, rowsAt, type Geometry, type Rows } from "./geometry";

/** In so many frames the same rows: then it is worth asking for them. A list that is scrolled past quickly asks for
 * nothing, also on a machine that is too busy to draw often. */
const REST_FRAMES = 4;

export interface Sight {
  geometry: Geometry;
  rows: Rows;
}

/** The geometry of a grid and the rows in sight. `onRest` gets the rows when the scrolling rests. */
export function useSight(grid: { current: HTMLElement | null }, count: number, onRest: (sight: Sight) => void): Sight {
  const [width, setWidth] = useState(0);
  const rows = useSignal<Rows>({ first: 0, last: -1 });
  const geometry = geometryOf(width, width === 0 ? 0 : count);
  useLayoutEffect(() => {
    const element = grid.current;
    if (element === null) return undefined;
    const measure = () => setWidth(element.clientWidth);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    let frame = 0;
    let still = 0;
    const rest = () => onRest({ geometry, rows: rows.peek() });
    /** Whether other rows have come into sight. */
    const look = () => {
      const now = rowsAt(geometry, topOf(grid.current), innerHeight);
      const isOther = now.first !== rows.peek().first || now.last !== rows.peek().last;
      if (isOther) rows.value = now;
      return isOther;
    };
    const follow = () => {
      still = look() ? 0 : still + 1;
      frame = still < REST_FRAMES ? requestAnimationFrame(follow) : 0;
      if (frame === 0) rest();
    };
    const hear = () => {
      if (frame !== 0) return;
      still = 0;
      frame = requestAnimationFrame(follow);
    };
    look();
    rest();
    addEventListener("scroll", hear, { passive: true });
    addEventListener("resize", hear);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", hear);
      removeEventListener("resize", hear);
    };
  }, [width, geometry.rows, onRest]);
  return { geometry, rows: rows.value };
}

/** How far the grid's top is below the window's; negative when it is scrolled. */
export function topOf(grid: HTMLElement | null): number {
  return grid?.getBoundingClientRect().top ?? 0;
}

/** Where a row should be: as near as it is, or if it is out of sight in the middle, or at the top in any case. */
type Where = "near" | "middle" | "top";

/** Scrolls until a row is in sight. */
export function showRow(grid: HTMLElement | null, { rowHeight }: Geometry, row: number, where: Where = "near"): void {
  const top = topOf(grid) + row * rowHeight;
  const bar = document.querySelector<HTMLElement>(".selection")?.offsetHeight ?? 0;
  const [high, low] = [margin("--sticky-top"), innerHeight - margin("--sticky-bottom") - bar];
  if (where !== "top" && top >= high && top + rowHeight <= low) return;
  const wanted = { near: top < high ? high : low - rowHeight, middle: (high + low - rowHeight) / 2, top: high };
  scrollBy(0, top - wanted[where]);
}

/** Pixels of the window that bars cover. */
function margin(name: string): number {
  return parseFloat(getComputedStyle(document.documentElement).getPropertyValue(name)) || 0;
}
