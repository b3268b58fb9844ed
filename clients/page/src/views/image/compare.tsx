// Two images beside each other, or one over the other with a slider. Both show the same part at the same size.
import { useSignal, type Signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { ask } from "../../live";
import { go, href, route } from "../../route";
import { compare as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { Empty } from "../../ui/Empty";
import { Page } from "../../ui/Page";
import { Problem } from "../../ui/Problem";
import { ReviewControls } from "../../ui/ReviewControls";
import type { ImageInfo } from "../../ui/reviewing";
import { Spinner } from "../../ui/Spinner";
import { isOf, useAnswer, type Kept } from "./answer";
import { useKeys } from "./keys";
import { Slider } from "./Slider";
import { Stage } from "./Stage";
import { FITTED, movedByKey, shapeOf, zoomedByKey, type Place } from "./zoom";
import { ZoomBar } from "./ZoomBar";

const TWO = /^([^/]+\/\d+)\.\.([^/]+\/\d+)$/;

export function CompareView() {
  const [, first, second] = TWO.exec(route.value.path.join("/")) ?? [];
  const swap = () => go(href("compare", [`${second}..${first}`]), { replace: true });
  if (first === undefined || second === undefined) {
    return (
      <Page title={texts.title}>
        <Empty title={texts.none}>{texts.choose}</Empty>
      </Page>
    );
  }
  return <Compared first={first} second={second} onSwap={swap} />;
}

function Compared({ first, second, onSwap }: { first: string; second: string; onSwap: () => void }) {
  const place = useSignal(FITTED);
  const [isSlider, setSlider] = useState(false);
  const one = useImage(first);
  const two = useImage(second);
  useKeys((key, event) => {
    const moved = zoomedByKey(place.peek(), key) ?? (event.shiftKey ? movedByKey(place.peek(), key) : undefined);
    if (moved) place.value = moved;
    else if (key === "Escape") back();
    else return false;
    return true;
  });
  return (
    <Page title={texts.title} aside={<Modes isSlider={isSlider} onSlider={setSlider} onSwap={onSwap} place={place} />}>
      {isSlider && one.value && two.value && <Slider first={one.value} second={two.value} place={place} />}
      <div class="compared" style={shapeOf(one.value, two.value)}>
        <Side image={one} place={place} hasStage={!isSlider} label={texts.first} />
        <Side image={two} place={place} hasStage={!isSlider} label={texts.second} />
      </div>
    </Page>
  );
}

/** To where the person came from; an address that was opened by itself has no such place. */
function back(): void {
  if (history.length > 1) history.back();
  else go(href("gallery"));
}

function useImage(imageId: string): Kept<ImageInfo> {
  const [batchId = ""] = imageId.split("/");
  return useAnswer(imageId, () => ask("get_image", { image: imageId }), isOf(batchId));
}

interface ModesProps {
  isSlider: boolean;
  onSlider: (isSlider: boolean) => void;
  onSwap: () => void;
  place: Signal<Place>;
}

function Modes({ isSlider, onSlider, onSwap, place }: ModesProps) {
  return (
    <div class="row">
      <Button pressed={!isSlider} onClick={() => onSlider(false)}>
        {texts.beside}
      </Button>
      <Button pressed={isSlider} onClick={() => onSlider(true)}>
        {texts.slider}
      </Button>
      <Button onClick={onSwap}>{texts.swap}</Button>
      <ZoomBar place={place} />
    </div>
  );
}

interface SideProps {
  image: Kept<ImageInfo>;
  place: Signal<Place>;
  /** The slider has a stage of its own. */
  hasStage: boolean;
  label: string;
}

function Side({ image: { value: image, error, set }, place, hasStage, label }: SideProps) {
  if (image === undefined) return error === undefined ? <Spinner told /> : <Problem error={error} />;
  return (
    <section class="stack" aria-label={`${label}: ${image.name}`}>
      {hasStage && (
        <div class="stage" tabIndex={0} role="group" aria-label={image.name}>
          <Stage image={image} place={place} />
        </div>
      )}
      <a href={href("image", [image.batch_id, image.index])}>{image.name}</a>
      <ReviewControls images={[image]} canForget={false} onReviewed={([now]) => now && set(now)} />
    </section>
  );
}
