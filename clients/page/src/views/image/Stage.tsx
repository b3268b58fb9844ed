import type { Signal } from "@preact/signals";
import type { Ref, RefObject } from "preact";
import { useRef, useState } from "preact/hooks";
import { image as texts } from "../../texts";
import type { ImageInfo } from "../../ui/reviewing";
import { Icon } from "../../ui/Icon";
import { Spinner } from "../../ui/Spinner";
import { useGestures, type OnSwipe } from "./gestures";
import { fileName, shownAs } from "./kinds";
import { useDrawing } from "./drawing";
import { NoFile } from "./NoFile";
import { transformOf, type Place } from "./zoom";

export interface StageProps {
  image: ImageInfo;
  place: Signal<Place>;
  onSwipe?: OnSwipe;
  /** The player of a video or a sound. */
  player?: RefObject<HTMLMediaElement | null>;
}

/** The file of an image as large as there is room: a picture that can be zoomed, a player, or a download. */
export function Stage({ image, place, onSwipe, player }: StageProps) {
  // What failed is tried again with the next bytes.
  const key = `${image.image_id} ${image.sha256}`;
  const [failed, setFailed] = useState("");
  const onError = () => setFailed(key);
  const shown = shownAs(image);
  const address = useSteady(key, image.file_url ?? "");
  if (shown === "nothing") return <NoFile image={image} />;
  if (shown === "other" || failed === key) return <Download image={image} />;
  if (shown === "drawing") return <Drawing key={key} {...{ image, address, place, onSwipe, onError }} />;
  if (shown === "picture") return <Picture key={key} {...{ image, address, place, onSwipe, onError }} />;
  if (shown === "audio") return <audio key={key} class="stage-audio" controls src={address} ref={player as Ref<HTMLAudioElement>} onError={onError} />;
  return (
    <video
      key={key}
      class="stage-video"
      controls
      playsInline
      preload="metadata"
      src={address}
      poster={image.thumbnail_large_url || undefined}
      aria-label={image.name}
      ref={player as Ref<HTMLVideoElement>}
      onError={onError}
    />
  );
}

/** The address that came first for the same bytes: each answer signs a new one, and a picture would load again. */
function useSteady(key: string, address: string): string {
  const first = useRef({ key, address });
  if (first.current.key !== key || !first.current.address) first.current = { key, address };
  return first.current.address;
}

interface PictureProps {
  image: ImageInfo;
  address: string;
  place: Signal<Place>;
  onSwipe?: OnSwipe;
  onError: () => void;
}

/** A drawing may have scripts; in an `<img>` no browser runs them, and loads nothing that they name. */
function Drawing({ address, onError, ...rest }: PictureProps) {
  const drawn = useDrawing(address, onError);
  return drawn === "" ? <Spinner told /> : <Picture address={drawn} onError={onError} {...rest} />;
}

/** The thumbnail, which the gallery has shown already, is there until the file has come. */
function Picture({ image, address, place, onSwipe, onError }: PictureProps) {
  const gestures = useGestures(place, onSwipe);
  const [isLoaded, setLoaded] = useState(false);
  const isLarge = place.value.scale > 1;
  const style = { transform: transformOf(place.value) };
  return (
    <div class={isLarge ? "frame frame-large" : "frame"} {...gestures}>
      {!isLoaded && image.thumbnail_url && <img class="frame-early" src={image.thumbnail_url} alt="" style={style} />}
      <img
        class="frame-picture"
        src={address}
        alt={image.name}
        draggable={false}
        style={style}
        onLoad={() => setLoaded(true)}
        onError={onError}
      />
    </div>
  );
}

/** What browsers do not show, or did not manage to. */
function Download({ image }: { image: ImageInfo }) {
  const { thumbnail_large_url: thumbnail, extension = "" } = image;
  return (
    <div class="stage-other">
      {thumbnail && <img class="stage-thumbnail" src={thumbnail} alt={image.name} />}
      <p>{texts.notShown(extension)}</p>
      <a class="button button-main" href={image.file_url} download={fileName(image)}>
        <Icon name="download" />
        {texts.download}
      </a>
    </div>
  );
}
