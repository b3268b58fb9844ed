import { useEffect, useId, useRef } from "preact/hooks";
import { common } from "../texts";
import { Button } from "./Button";
import { asked, type Asked } from "./confirming";

/** The place of questions; once in the page. */
export function ConfirmDialog() {
  const question = asked.value;
  return question ? <Dialog key={question.id} question={question} /> : null;
}

/** The browser keeps the focus in it, closes it with Escape, and gives the focus back. */
function Dialog({ question }: { question: Asked }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const isYes = useRef(false);
  useEffect(() => dialog.current?.showModal(), []);
  // Taking the dialog away without closing it would lose the focus.
  const agree = () => {
    isYes.current = true;
    dialog.current?.close();
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={`${id}-title`} onClose={() => question.answer(isYes.current)}>
      <h2 id={`${id}-title`}>{question.title}</h2>
      <ul class="dialog-consequences">
        {question.consequences.map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
      <div class="dialog-buttons">
        <Button onClick={() => dialog.current?.close()}>{common.cancel}</Button>
        <Button kind={question.isDanger ? "danger" : "main"} onClick={agree}>
          {question.confirm}
        </Button>
      </div>
    </dialog>
  );
}
