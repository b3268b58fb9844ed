import { href } from "../../route";
import { may } from "../../session/session";
import { gallery as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { ForgetButton } from "../../ui/ForgetButton";
import { isForgettable } from "../../ui/forgetting";
import { Icon } from "../../ui/Icon";
import { IconButton } from "../../ui/IconButton";
import { ReviewControls } from "../../ui/ReviewControls";
import { useAction } from "../../ui/actions";
import type { Image } from "../../live/image_list";
import { canRetry, retryAll, zipOf } from "./requests";
import { clearSelection, renewSelected, selected } from "./selection";

/** What one can do with the selected images. */
export function SelectionBar() {
  const images = [...selected.value.values()];
  return (
    <section class="selection" aria-label={texts.selection}>
      <div class="selection-count">
        <span role="status">{texts.selected(images.length)}</span>
        <IconButton icon="close" label={texts.clear} onClick={clearSelection} />
      </div>
      <div class="selection-actions">
        <ReviewControls images={images} onReviewed={renewSelected} />
        <Retry images={images.filter(canRetry)} />
        {images.length === 2 && <Compare images={images} />}
        <Download images={images.filter((image) => image.sha256)} />
        <Forget images={images.filter(isForgettable)} />
      </div>
    </section>
  );
}

interface Selected {
  images: readonly Image[];
}

function Retry({ images }: Selected) {
  const { run, pending } = useAction(async () => ({ text: texts.retried(await retryAll(images)) }));
  if (images.length === 0 || !may("submit_configured")) return null;
  return (
    <Button icon="retry" pending={pending.value} onClick={() => void run()}>
      {texts.retry(images.length)}
    </Button>
  );
}

function Compare({ images: [first, second] }: Selected) {
  return (
    <a class="button" href={href("compare", [`${first?.image_id}..${second?.image_id}`])}>
      <Icon name="gallery" />
      {texts.compare}
    </a>
  );
}

function Download({ images }: Selected) {
  const { run, pending } = useAction(async () => {
    const link = document.createElement("a");
    link.href = await zipOf(images);
    link.download = "";
    link.click();
  });
  if (images.length === 0) return null;
  return (
    <Button icon="download" pending={pending.value} onClick={() => void run()}>
      {texts.download}
    </Button>
  );
}

function Forget({ images }: Selected) {
  if (images.length === 0 || !may("admin")) return null;
  return <ForgetButton images={images} onForgotten={clearSelection} />;
}
