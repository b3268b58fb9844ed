// How a picture lies in its frame, as a value: how large, and where. Lengths are parts of the frame, so that two frames of
// any size can show the same part of two pictures.

export interface Place {
  /** 1 fits the frame. */
  scale: number;
  /** Where the picture's middle is, from the middle of the frame; 0.5 is its right or lower edge. */
  x: number;
  y: number;
}

/** From the middle of the frame, as in Place. */
export interface Point {
  x: number;
  y: number;
}

export const FITTED: Place = { scale: 1, x: 0, y: 0 };
export const SCALE_MAX = 16;
const MIDDLE: Point = { x: 0, y: 0 };

/** Larger or smaller; what is at the point stays there. */
export function zoomed(place: Place, factor: number, at: Point = MIDDLE): Place {
  const scale = Math.min(SCALE_MAX, Math.max(1, place.scale * factor));
  const grown = scale / place.scale;
  return within({ scale, x: at.x - (at.x - place.x) * grown, y: at.y - (at.y - place.y) * grown });
}

export function moved(place: Place, by: Point): Place {
  return within({ ...place, x: place.x + by.x, y: place.y + by.y });
}

/** The picture does not leave the frame. */
function within({ scale, x, y }: Place): Place {
  const room = (scale - 1) / 2;
  const bound = (value: number) => Math.min(room, Math.max(-room, value)) + 0; // no -0
  return { scale, x: bound(x), y: bound(y) };
}

/** As CSS; the picture fills its frame before it is moved. */
export function transformOf({ scale, x, y }: Place): string {
  return `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
}

/** What a zoom key means: + and - and 0, as in browsers. */
export function zoomedByKey(place: Place, key: string): Place | undefined {
  if (key === "+" || key === "=") return zoomed(place, 1.5);
  if (key === "-") return zoomed(place, 1 / 1.5);
  return key === "0" ? FITTED : undefined;
}

/** How wide pictures are for their height, as a style of the frame that shows them; of several the tallest. */
export function shapeOf(...images: readonly (Sides | undefined)[]): Record<string, number> {
  const shapes = images.flatMap((image) => (image?.width && image.height ? [image.width / image.height] : []));
  return shapes.length > 0 ? { "--shape": Math.min(...shapes) } : {};
}

/** In pixels. */
interface Sides {
  width?: number;
  height?: number;
}

const STEP = 0.1;

/** Shift and an arrow move what is larger than its frame. */
export function movedByKey(place: Place, key: string): Place | undefined {
  const steps: Record<string, Point> = {
    ArrowLeft: { x: STEP, y: 0 },
    ArrowRight: { x: -STEP, y: 0 },
    ArrowUp: { x: 0, y: STEP },
    ArrowDown: { x: 0, y: -STEP },
  };
  const step = steps[key];
  return step && moved(place, step);
}
