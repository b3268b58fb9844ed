import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ask } from "../../live";
import { may } from "../../session/session";
import { image as texts } from "../../texts";
import { ForgetButton } from "../../ui/ForgetButton";
import { isForgettable } from "../../ui/forgetting";
import { ReviewControls } from "../../ui/ReviewControls";
import { isReviewable, type ImageInfo } from "../../ui/reviewing";
import { Actions, Again } from "./Actions";
import { isOfOrFrom, useAnswer } from "./answer";
import { Descent } from "./Descent";
import { Facts } from "./Facts";
import { useImageKeys } from "./image_keys";
import { isPicture, shownAs } from "./kinds";
import { Recipe } from "./Recipe";
import { Stage } from "./Stage";
import { Uploads } from "./Uploads";
import { FITTED, shapeOf } from "./zoom";
import { ZoomBar } from "./ZoomBar";

interface ShownProps {
  image: ImageInfo;
  /** Whether it is the one that the address names; if not, that one is still to come. */
  isCurrent: boolean;
  other: string | undefined;
  /** Takes the image into the selection of the gallery, or out of it. */
  onSelect: () => void;
  onReviewed: (images: readonly ImageInfo[]) => void;
  onStep: (step: 1 | -1) => void;
  onBack: () => void;
}

/** An image that is known: its file on the stage, and all about it. */
export function Shown({ image, isCurrent, other, onSelect, onReviewed, onStep, onBack }: ShownProps) {
  const { image_id, batch_id } = image;
  const place = useSignal(FITTED);
  const player = useRef<HTMLMediaElement>(null);
  const stage = useRef<HTMLElement>(null);
  const story = useAnswer(image_id, () => ask("explain", { what: image_id }), isOfOrFrom(batch_id)).value;
  const batch = story?.batch ?? undefined;
  useEffect(() => void (place.value = FITTED), [image_id]);
  // The shell gives the focus to the view as such; here the keys are the stage's.
  useEffect(() => void requestAnimationFrame(() => stage.current?.focus({ preventScroll: true })), []);
  useImageKeys({ image, isCurrent, place, player, onSelect, onReviewed, onStep, onBack });
  return (
    <div class="image-view">
      <div class="image-stage">
        <section
          class="stage"
          ref={stage}
          style={shapeOf(image)}
          tabIndex={0}
          aria-label={texts.stage}
          aria-describedby="stage-keys"
        >
          <Stage image={image} place={place} player={player} onSwipe={onStep} />
        </section>
        {isPicture(image) && <ZoomBar place={place} />}
        <p class="image-keys muted small" id="stage-keys">
          {keysOf(image).join(" ")}
        </p>
      </div>
      <div class="stack">
        <ReviewControls images={[image]} canForget={false} onReviewed={onReviewed} />
        <Actions image={image} batch={batch} other={other} onSelect={onSelect} />
        <Facts image={image} batch={batch} />
        <Section title={texts.stores}>
          <Uploads uploads={image.uploads ?? []} />
        </Section>
        <Section title={texts.recipe}>
          <Recipe image={image} />
        </Section>
        <Section title={texts.descent}>{story && <Descent story={story} />}</Section>
        {may("submit_configured") && isForgettable(image) && (
          <Section title={texts.again}>
            <Again image={image} />
          </Section>
        )}
        {may("admin") && isForgettable(image) && (
          <Section title={texts.remove}>
            <Remove image={image} />
          </Section>
        )}
      </div>
    </div>
  );
}

/** The keys that do something here. */
function keysOf(image: ImageInfo): string[] {
  const { list, play, select, zoom, review } = texts.keys;
  const shown = shownAs(image);
  return [
    list,
    ...(shown === "video" || shown === "audio" ? [play] : [select]),
    ...(isPicture(image) ? [zoom] : []),
    ...(may("operate") && isReviewable(image) ? [review] : []),
  ];
}

function Remove({ image }: { image: ImageInfo }) {
  const images = [image];
  return (
    <div class="row">
      {isReviewable(image) && <ForgetButton images={images} isRejecting />}
      <ForgetButton images={images} />
    </div>
  );
}

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="card">
      <h2>{title}</h2>
      {children}
    </section>
  );
}
