// The grid under a mouse or a finger. A click opens; the corner of a tile, ctrl and shift select. A finger that rests on a
// tile selects it. While something is selected, a click selects too.
import { useRef } from "preact/hooks";
import type { Pages } from "../../live/image_pages";
import { gallery as texts } from "../../texts";
import { tell } from "../../ui/messages";
import { active, hasSelection, selectTo, toggle } from "./selection";

const LONG_MS = 450;
/** A finger that moves so far scrolls. */
const STILL_PX = 10;

interface Press {
  timer: ReturnType<typeof setTimeout>;
  x: number;
  y: number;
}

export function useGridPointer(pages: Pages) {
  const press = useRef<Press | undefined>(undefined);
  const isLong = useRef(false);
  const choose = (at: number) => {
    const image = pages.peek(at);
    if (image) toggle(image, at);
  };
  const release = () => clearTimeout(press.current?.timer);
  return {
    onClick(event: MouseEvent): void {
      const at = placeOf(event);
      const target = event.target as Element;
      if (at === undefined || target.closest(".tile-gap")) return;
      active.value = at;
      if (isLong.current) event.preventDefault();
      else if (event.shiftKey) {
        event.preventDefault();
        void selectTo(pages, at).then((isWhole) => isWhole || tell(texts.selectedMax));
      } else if (event.ctrlKey || event.metaKey || hasSelection.peek() || target.closest(".tile-check")) {
        event.preventDefault();
        choose(at);
      }
      isLong.current = false;
    },
    onPointerDown(event: PointerEvent): void {
      release();
      isLong.current = false;
      const at = placeOf(event);
      if (event.pointerType !== "touch" || at === undefined) return;
      const timer = setTimeout(() => {
        isLong.current = true;
        choose(at);
      }, LONG_MS);
      press.current = { timer, x: event.clientX, y: event.clientY };
    },
    onPointerMove({ clientX, clientY }: PointerEvent): void {
      const begun = press.current;
      if (begun && Math.hypot(clientX - begun.x, clientY - begun.y) > STILL_PX) release();
    },
    onPointerUp: release,
    onPointerCancel: release,
    /** A long press would open the browser's menu of a link. */
    onContextMenu(event: MouseEvent): void {
      if (isLong.current) event.preventDefault();
    },
  };
}

function placeOf({ target }: Event): number | undefined {
  const tile = (target as Element).closest<HTMLElement>("[data-at]");
  return tile ? Number(tile.dataset["at"]) : undefined;
}
