// The large view: one image, what it is, where it came from, and what one can do with it.
import { useRef } from "preact/hooks";
import { ask } from "../../live";
import { readFilter } from "../../live/image_filter";
import { go, href, route } from "../../route";
import { image as texts } from "../../texts";
import { Page } from "../../ui/Page";
import { Problem } from "../../ui/Problem";
import type { ImageInfo } from "../../ui/reviewing";
import { Spinner } from "../../ui/Spinner";
import { toggle } from "../gallery/selection";
import { isOf, useAnswer } from "./answer";
import { useKeys } from "./keys";
import { NeighbourLinks } from "./NeighbourLinks";
import { useNeighbours, usePreloaded } from "./neighbours";
import { Shown } from "./Shown";

export function ImageView() {
  const { path, query } = route.value;
  const [batchId = "", index = ""] = path;
  const imageId = `${batchId}/${index}`;
  const filter = readFilter(query);
  const near = useNeighbours(filter, imageId);
  const { value, error, set } = useAnswer(imageId, () => ask("get_image", { image: imageId }), isOf(batchId));
  const image = useLast(value, error);
  usePreloaded(near.after);
  const back = href("gallery", [], filter);
  // The keys of Shown, until the first image has come.
  useKeys((key) => {
    if (image !== undefined) return false;
    if (key === "ArrowRight") near.show(1);
    else if (key === "ArrowLeft") near.show(-1);
    else if (key === "Escape") go(back);
    else return false;
    return true;
  });
  return (
    <Page title={image?.name ?? texts.title} aside={<NeighbourLinks near={near} filter={filter} back={back} />}>
      {error !== undefined && image === undefined && <Problem error={error} />}
      {error === undefined && image === undefined && <Spinner told />}
      {image && (
        <Shown
          image={image}
          isCurrent={image === value}
          other={near.after ?? near.before}
          onSelect={() => toggle(image, Math.max(0, near.position))}
          onReviewed={([now]) => now && set(asNow(image, now))}
          onStep={(step) => near.show(step)}
          onBack={() => go(back)}
        />
      )}
    </Page>
  );
}

/** The image, or the one before until it has come: the stage keeps its focus, and nothing flickers. */
function useLast(image: ImageInfo | undefined, error: unknown): ImageInfo | undefined {
  const last = useRef(image);
  if (image !== undefined || error !== undefined) last.current = image;
  return last.current;
}

/** What a review answers has no recipe, so only what a review changes is taken. */
function asNow(image: ImageInfo, { state, verdict, rating }: ImageInfo): ImageInfo {
  return { ...image, state, verdict, rating };
}
