import type { Filter } from "../../live/image_filter";
import { href } from "../../route";
import { image as texts } from "../../texts";
import { Icon } from "../../ui/Icon";
import type { Near } from "./neighbours";

/** Where the image stands in its list: the ones beside it, and the way back. */
export function NeighbourLinks({ near, filter, back }: { near: Near; filter: Filter; back: string }) {
  const { before, after, position, count } = near;
  return (
    <div class="row" role="group" aria-label={texts.neighbours}>
      <a class="button" href={back}>
        <Icon name="gallery" />
        {texts.back}
      </a>
      <Step imageId={before} filter={filter} icon="left" label={texts.before} />
      {count > 0 && position >= 0 && <span class="muted">{texts.position(position + 1, count)}</span>}
      <Step imageId={after} filter={filter} icon="right" label={texts.after} />
    </div>
  );
}

interface StepProps {
  imageId: string | undefined;
  filter: Filter;
  icon: "left" | "right";
  label: string;
}

function Step({ imageId, filter, icon, label }: StepProps) {
  if (imageId === undefined) return null;
  return (
    <a class="icon-button" href={href("image", imageId.split("/"), filter)} aria-label={label} title={label}>
      <Icon name={icon} />
    </a>
  );
}
