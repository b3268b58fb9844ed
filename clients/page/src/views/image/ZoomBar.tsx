import type { Signal } from "@preact/signals";
import { image as texts } from "../../texts";
import { IconButton } from "../../ui/IconButton";
import { FITTED, zoomed, type Place } from "./zoom";

const FACTOR = 1.5;

/** Zoom for whoever has no wheel: the same as the keys + - 0. */
export function ZoomBar({ place }: { place: Signal<Place> }) {
  const by = (factor: number) => () => void (place.value = zoomed(place.peek(), factor));
  const { scale } = place.value;
  return (
    <div class="zoom-bar" role="group" aria-label={texts.zoom}>
      <IconButton icon="minus" label={texts.smaller} onClick={by(1 / FACTOR)} disabled={scale === 1} />
      <button type="button" class="button button-quiet" title={texts.fit} onClick={() => void (place.value = FITTED)}>
        {texts.zoomed(scale)}
      </button>
      <IconButton icon="plus" label={texts.larger} onClick={by(FACTOR)} />
    </div>
  );
}
