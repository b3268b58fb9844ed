import { href } from "../../route";
import { image as texts } from "../../texts";
import type { ImageInfo } from "../../ui/reviewing";
import { Spinner } from "../../ui/Spinner";
import { Words } from "../../ui/Words";

/** Why there is nothing to look at. */
export function NoFile({ image }: { image: ImageInfo }) {
  const { state, code = "", text = "", waits_for = [] } = image;
  return (
    <div class="stage-other">
      {state === "pending" && <Spinner />}
      <p class="empty-title">{texts.noFile[state] ?? texts.noFile["kept"]}</p>
      {waits_for.length > 0 && <p>{texts.waitsFor(waits_for.length)}</p>}
      {code && <code class="problem-code">{code}</code>}
      {text && (
        <p class="stage-text">
          <Words text={text} />
        </p>
      )}
      <a href={href("story", [image.batch_id, image.index])}>{texts.whyStory}</a>
    </div>
  );
}
