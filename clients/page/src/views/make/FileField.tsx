// An input that takes a file: dropped, pasted, chosen from this machine, or an image of the gallery.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { make as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import type { ChosenFile, FormInput } from "./form";
import { ImagePicker } from "./ImagePicker";
import { useUpload, type Sending } from "./upload";

export interface FileFieldProps {
  input: FormInput;
  chosen?: ChosenFile;
  hint?: string;
  error?: string;
  /** Whether it takes what is pasted anywhere in the view. */
  takesPaste: boolean;
  onChoose: (file: ChosenFile | undefined) => void;
}

export function FileField({ input, chosen, hint, error, takesPaste, onChoose }: FileFieldProps) {
  const id = useId();
  const { sending, send } = useUpload(onChoose);
  const [isOver, setOver] = useState(false);
  const [isPicking, setPicking] = useState(false);
  const paste = (event: ClipboardEvent) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    send(file);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    send(event.dataTransfer?.files[0]);
  };
  usePaste(takesPaste, paste);
  const state = isOver ? " make-file-over" : error ? " field-wrong" : "";
  return (
    <>
      <fieldset
        class={`field make-file${state}`}
        aria-describedby={error ? `${id}-error` : undefined}
        onDragOver={(event) => (event.preventDefault(), setOver(true))}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
        onPaste={paste}
      >
        <legend class="field-label">{input.label}</legend>
        {hint && <p class="field-hint">{hint}</p>}
        <Present input={input} chosen={chosen} sending={sending} />
        {sending?.error !== undefined && (
          <div class="stack">
            <Problem error={sending.error} />
            <Button onClick={() => send(sending.file)}>{texts.file.again}</Button>
          </div>
        )}
        <Ways input={input} send={send} onPick={() => setPicking(true)} onRemove={chosen && (() => onChoose(undefined))} />
        {error && (
          <p class="field-error" id={`${id}-error`}>
            {error}
          </p>
        )}
      </fieldset>
      {isPicking && (
        <ImagePicker medium={input.medium ?? undefined} onChoose={onChoose} onClose={() => setPicking(false)} />
      )}
    </>
  );
}

interface WaysProps {
  input: FormInput;
  send: (file: File | undefined) => void;
  onPick: () => void;
  onRemove?: () => void;
}

/** The buttons. The field of the browser itself stays hidden: its words cannot be chosen. */
function Ways({ input, send, onPick, onRemove }: WaysProps) {
  const chooser = useRef<HTMLInputElement>(null);
  const { file } = texts;
  return (
    <div class="make-file-ways">
      <span class="muted small">{file.drop}</span>
      <Button onClick={() => chooser.current?.click()} label={`${file.choose}: ${input.label}`}>
        {file.choose}
      </Button>
      <Button icon="gallery" onClick={onPick} label={`${file.gallery}: ${input.label}`}>
        {file.gallery}
      </Button>
      {onRemove && (
        <Button kind="quiet" onClick={onRemove} label={`${file.remove}: ${input.label}`}>
          {file.remove}
        </Button>
      )}
      <input
        ref={chooser}
        type="file"
        hidden
        aria-label={input.label}
        accept={acceptOf(input.medium)}
        onChange={(event) => {
          send(event.currentTarget.files?.[0]);
          event.currentTarget.value = "";
        }}
      />
    </div>
  );
}

/** What is pasted while the focus is in no field for files. */
function usePaste(isWanted: boolean, paste: (event: ClipboardEvent) => void): void {
  useEffect(() => {
    if (!isWanted) return undefined;
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  });
}

/** What there is: on its way, chosen, or as it is without the form. */
function Present({ input, chosen, sending }: { input: FormInput; chosen?: ChosenFile; sending?: Sending }) {
  const { file } = texts;
  if (sending && sending.error === undefined) {
    const percent = Math.round(100 * sending.part);
    return (
      <div>
        <p>{file.sending(sending.file.name, percent)}</p>
        <progress class="make-progress" aria-label={file.bar(sending.file.name)} max={100} value={percent} />
      </div>
    );
  }
  if (chosen) {
    return (
      <div class="make-chosen">
        {chosen.preview && <img src={chosen.preview} alt="" />}
        <p role="status">{file.chosen(chosen.name)}</p>
      </div>
    );
  }
  if (!input.shownName) return <p class="muted">{file.nothing}</p>;
  return <p class="muted">{input.required ? file.gone(input.shownName) : file.keeps(input.shownName)}</p>;
}

function acceptOf(medium: FormInput["medium"]): string | undefined {
  if (medium === "image") return "image/*";
  if (medium === "video") return "video/*,image/gif,image/webp";
  return medium === "audio" ? "audio/*,video/*" : undefined;
}
