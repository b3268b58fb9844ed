import { useEffect, useId, useRef, useState } from "preact/hooks";
import { common, review as texts } from "../texts";
import { useAction } from "./actions";
import { Button } from "./Button";
import { CheckField } from "./Field";
import { forget, storesOf } from "./forgetting";
import { rejectAndForget, type ImageInfo } from "./reviewing";

export interface ForgetProps {
  images: readonly ImageInfo[];
  /** The images are rejected first. */
  isRejecting?: boolean;
  /** Called when it is done. Events say so as well. */
  onForgotten?: (images: readonly ImageInfo[]) => void;
}

/** A button that asks, says what goes and what stays, and forgets. Show it to the right `admin` only. */
export function ForgetButton({ images, isRejecting = false, onForgotten }: ForgetProps) {
  const [isAsking, setAsking] = useState(false);
  const { run, pending } = useAction(async (stores: boolean) => {
    await (isRejecting ? rejectAndForget(images, stores) : forget(images, stores));
    onForgotten?.(images);
    return { text: texts.forgotten(images.length) };
  });
  const answer = (stores?: boolean) => {
    setAsking(false);
    if (stores !== undefined) void run(stores);
  };
  return (
    <>
      <Button icon="trash" onClick={() => setAsking(true)} pending={pending.value}>
        {isRejecting ? texts.rejectAndForget : texts.forget}
      </Button>
      {isAsking && <ForgetDialog images={images} isRejecting={isRejecting} onAnswer={answer} />}
    </>
  );
}

interface DialogProps {
  images: readonly ImageInfo[];
  isRejecting: boolean;
  /** With whether the stores forget too; without a value the person did not agree. */
  onAnswer: (stores?: boolean) => void;
}

function ForgetDialog({ images, isRejecting, onAnswer }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const [withStores, setWithStores] = useState(false);
  const isYes = useRef(false);
  useEffect(() => dialog.current?.showModal(), []);
  // Closing gives the focus back to the button; taking the dialog away would lose it.
  const agree = () => {
    isYes.current = true;
    dialog.current?.close();
  };
  const stores = storesOf(images);
  const count = images.length;
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={title} onClose={() => onAnswer(isYes.current ? withStores : undefined)}>
      <h2 id={title}>{count === 1 ? texts.forgetOne(images[0]?.name ?? "") : texts.forgetMany(count)}</h2>
      <ul class="dialog-consequences">
        {isRejecting && <li>{texts.done.rejected(count)}</li>}
        <li>{texts.erased(count)}</li>
        {stores.length > 0 && <li>{withStores ? texts.storesToo(stores) : texts.storesKeep(stores)}</li>}
        <li>{texts.forGood}</li>
      </ul>
      {stores.length > 0 && <CheckField label={texts.alsoStores} checked={withStores} onInput={setWithStores} />}
      <div class="dialog-buttons">
        <Button onClick={() => dialog.current?.close()}>{common.cancel}</Button>
        <Button kind="danger" onClick={agree}>
          {isRejecting ? texts.rejectAndForget : texts.forgetConfirm(count)}
        </Button>
      </div>
    </dialog>
  );
}
