// The images before and after an image in the list that the gallery showed.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { ask, onEvent } from "../../live";
import type { Filter } from "../../live/image_filter";
import { neighbours, type Neighbours } from "../../live/image_list";
import { refresher } from "../../live/refresh";
import { go, href } from "../../route";
import { shownAs } from "./kinds";

const PAUSE_MS = 1_000;
const ALONE: Neighbours = { position: -1, count: 0 };

export interface Near extends Neighbours {
  /** Shows the neighbour in this direction, if there is one. The back button then leads past both. */
  show: (step: 1 | -1) => void;
}

/** Loads the picture that probably comes next, so that it is there at once. */
export function usePreloaded(imageId: string | undefined): void {
  useEffect(() => {
    if (imageId === undefined) return undefined;
    let isOver = false;
    const load = async () => {
      const image = await ask("get_image", { image: imageId });
      if (!isOver && shownAs(image) === "picture") new Image().src = image.file_url ?? "";
    };
    load().catch(() => undefined); // whoever comes to it hears what is wrong
    return () => void (isOver = true);
  }, [imageId]);
}

/** Unknown neighbours are missing: the view works without them. */
export function useNeighbours(filter: Filter, imageId: string): Near {
  const key = `${imageId} ${JSON.stringify(filter)}`;
  const found = useSignal({ key: "", near: ALONE });
  /** A step that was asked for before the neighbours were known. */
  const early = useRef({ key, step: 0 });
  const step = (near: Neighbours, by: number) => {
    const next = by === 1 ? near.after : by === -1 ? near.before : undefined;
    if (next !== undefined) go(href("image", next.split("/"), filter), { replace: true });
  };
  // It is over when the view goes. An effect would hear of that after the next paint, and lead who has left back here.
  useLayoutEffect(() => {
    let isOver = false;
    const load = refresher(async () => {
      if (isOver) return; // asking says where the reader is
      const near = await neighbours(filter, imageId).catch(() => ALONE);
      if (isOver) return;
      found.value = { key, near };
      if (early.current.key === key) step(near, early.current.step);
      early.current = { key, step: 0 };
    }, PAUSE_MS);
    load();
    const end = onEvent(load);
    return () => {
      isOver = true;
      end();
    };
  }, [key]);
  const isKnown = found.value.key === key;
  const near = isKnown ? found.value.near : ALONE;
  const show = (by: 1 | -1) => {
    if (isKnown) step(near, by);
    else early.current = { key, step: by };
  };
  return { ...near, show };
}
