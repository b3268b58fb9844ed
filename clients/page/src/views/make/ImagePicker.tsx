// A dialog with the images of the gallery, newest first, from which one becomes the source of an input.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { ImageInfo } from "comfyledger";
import { ask } from "../../live";
import { common, make as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { TextField } from "../../ui/Field";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import type { ChosenFile } from "./form";

export interface ImagePickerProps {
  medium?: ImageInfo["medium"];
  onChoose: (file: ChosenFile) => void;
  onClose: () => void;
}

const PAGE = 48;

export function ImagePicker({ medium, onChoose, onClose }: ImagePickerProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [images, setImages] = useState<readonly ImageInfo[]>([]);
  const [next, setNext] = useState<string | undefined>("");
  const [problem, setProblem] = useState<unknown>(undefined);
  const [isAsking, setAsking] = useState(false);
  const [named, setNamed] = useState("");

  const more = async () => {
    setAsking(true);
    try {
      const page = await ask("list_images", { limit: PAGE, ...(next ? { before: next } : {}) });
      setImages([...images, ...page.images.filter((image) => isUsable(image, medium))]);
      setNext(page.more ? page.next_cursor : undefined);
    } catch (error) {
      setProblem(error);
    }
    setAsking(false);
  };
  useEffect(() => {
    dialog.current?.showModal();
    void more();
  }, []);
  const choose = (file: ChosenFile) => {
    onChoose(file);
    dialog.current?.close();
  };
  const chooseNamed = async () => {
    if (named.trim() === "") return;
    try {
      choose(chosen(await ask("get_image", { image: named.trim() })));
    } catch (error) {
      setProblem(error);
    }
  };
  return (
    <dialog ref={dialog} class="dialog make-picker" aria-labelledby={`${id}-title`} onClose={onClose}>
      <div class="stack">
        <h2 id={`${id}-title`}>{texts.picker.title}</h2>
        <div class="make-picker-named">
          <TextField
            label={texts.picker.named}
            hint={texts.picker.namedHint}
            value={named}
            onInput={setNamed}
            onKeyDown={(event) => event.key === "Enter" && void chooseNamed()}
          />
          <Button disabled={named.trim() === ""} onClick={() => void chooseNamed()}>
            {texts.picker.use}
          </Button>
        </div>
        {problem !== undefined && <Problem error={problem} />}
        <ul class="make-picker-images">
          {images.map((image) => (
            <li key={image.image_id}>
              <button type="button" onClick={() => choose(chosen(image))} title={image.name}>
                {image.thumbnail_url ? <img src={image.thumbnail_url} alt={image.name} loading="lazy" /> : image.name}
              </button>
            </li>
          ))}
        </ul>
        {isAsking && <Spinner told />}
        {!isAsking && next === undefined && images.length === 0 && <p class="muted">{texts.picker.none}</p>}
        <div class="dialog-buttons">
          {!isAsking && next !== undefined && <Button onClick={() => void more()}>{texts.picker.more}</Button>}
          <Button onClick={() => dialog.current?.close()}>{common.cancel}</Button>
        </div>
      </div>
    </dialog>
  );
}

function chosen(image: ImageInfo): ChosenFile {
  return { asked: { image: image.image_id }, name: image.name, preview: image.thumbnail_url };
}

const GONE: readonly string[] = ["failed", "cancelled", "forgotten", "forgetting"];

/** A video is a source for sounds, too; the daemon judges what the page cannot know. */
function isUsable({ state, medium = "image" }: ImageInfo, wanted: ImageInfo["medium"]): boolean {
  if (GONE.includes(state)) return false;
  return wanted === undefined || medium === wanted || (wanted === "audio" && medium === "video");
}
