import type { Signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { compare as texts } from "../../texts";
import type { ImageInfo } from "../../ui/reviewing";
import { useGestures } from "./gestures";
import { shownAs } from "./kinds";
import { shapeOf, transformOf, type Place } from "./zoom";

export interface SliderProps {
  first: ImageInfo;
  second: ImageInfo;
  place: Signal<Place>;
}

/** The first image left of a line, the second right of it. */
export function Slider({ first, second, place }: SliderProps) {
  const [percent, setPercent] = useState(50);
  const gestures = useGestures(place);
  const style = { transform: transformOf(place.value) };
  if (shownAs(first) !== "picture" || shownAs(second) !== "picture") return <p class="muted">{texts.picturesOnly}</p>;
  return (
    <div class="slider" style={shapeOf(first, second)}>
      <div class="stage" tabIndex={0} role="group" aria-label={texts.slider}>
        <div class="frame" {...gestures}>
          <img class="frame-picture" src={second.file_url} alt={second.name} draggable={false} style={style} />
          <div class="slider-over" style={{ clipPath: `inset(0 ${100 - percent}% 0 0)` }}>
            <img class="frame-picture" src={first.file_url} alt={first.name} draggable={false} style={style} />
          </div>
          <span class="slider-line" style={{ left: `${percent}%` }} />
        </div>
      </div>
      <input
        type="range"
        min={0}
        max={100}
        value={percent}
        aria-label={texts.line}
        onInput={(event) => setPercent(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}
