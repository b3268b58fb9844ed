// Wheel, drag, pinch and double click in a frame, as changes of a Place. One finger on a picture that fits its frame
// swipes to a neighbour instead.
import type { Signal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { FITTED, moved, zoomed, type Place, type Point } from "./zoom";

const WHEEL_SPEED = 0.002;
const DOUBLE = 2.5;
const SWIPE_MIN_PX = 60;

/** +1 to what comes next. */
export type OnSwipe = (step: 1 | -1) => void;

/** The listeners of a frame that shows a place. They stay the same, so that no gesture ends because the view is drawn. */
export function useGestures(place: Signal<Place>, onSwipe?: OnSwipe) {
  const latest = useRef(onSwipe);
  latest.current = onSwipe;
  return useMemo(() => gestures(place, (step) => latest.current?.(step)), [place]);
}

function gestures(place: Signal<Place>, onSwipe: OnSwipe) {
  const fingers = new Map<number, Point>();
  let began: Point | undefined;
  const drop = (event: PointerEvent) => {
    fingers.delete(event.pointerId);
    began = undefined;
  };
  return {
    onWheel: (event: WheelEvent) => {
      event.preventDefault();
      place.value = zoomed(place.peek(), Math.exp(-event.deltaY * WHEEL_SPEED), pointOf(event));
    },
    onDblClick: (event: MouseEvent) => {
      place.value = place.peek().scale > 1 ? FITTED : zoomed(place.peek(), DOUBLE, pointOf(event));
    },
    onPointerDown: (event: PointerEvent) => {
      if (event.button !== 0) return;
      frameOf(event).setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, pointOf(event));
      began = fingers.size === 1 ? { x: event.clientX, y: event.clientY } : undefined;
    },
    onPointerMove: (event: PointerEvent) => {
      const before = fingers.get(event.pointerId);
      if (before === undefined) return;
      const at = pointOf(event);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      place.value = other ? pinched(place.peek(), before, at, other, frameOf(event)) : moved(place.peek(), less(at, before));
      fingers.set(event.pointerId, at);
    },
    onPointerUp: (event: PointerEvent) => {
      const by = began && { x: event.clientX - began.x, y: event.clientY - began.y };
      if (by && event.pointerType === "touch" && place.peek().scale === 1 && isSwipe(by)) onSwipe(by.x < 0 ? 1 : -1);
      drop(event);
    },
    onPointerCancel: drop,
  };
}

/** Two fingers: the middle between them moves the picture, the distance between them sizes it. */
function pinched(place: Place, before: Point, at: Point, other: Point, frame: HTMLElement): Place {
  const far = (one: Point) => Math.hypot((one.x - other.x) * frame.clientWidth, (one.y - other.y) * frame.clientHeight);
  const middle = { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 };
  const by = { x: (at.x - before.x) / 2, y: (at.y - before.y) / 2 };
  return moved(zoomed(place, far(at) / Math.max(far(before), 1), middle), by);
}

function isSwipe({ x, y }: Point): boolean {
  return Math.abs(x) >= SWIPE_MIN_PX && Math.abs(x) > 2 * Math.abs(y);
}

function less(one: Point, other: Point): Point {
  return { x: one.x - other.x, y: one.y - other.y };
}

function frameOf(event: MouseEvent): HTMLElement {
  return event.currentTarget as HTMLElement;
}

function pointOf(event: MouseEvent): Point {
  const { left, top, width, height } = frameOf(event).getBoundingClientRect();
  return { x: (event.clientX - left) / width - 0.5, y: (event.clientY - top) / height - 0.5 };
}
