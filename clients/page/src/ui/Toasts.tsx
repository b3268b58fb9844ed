import { common } from "../texts";
import { Button } from "./Button";
import { IconButton } from "./IconButton";
import { closeToast, toasts, type Toast } from "./messages";
import { Words } from "./Words";

/** The place of all messages; once in the page. Screen readers say them when they come. */
export function Toasts() {
  return (
    <section class="toasts" aria-label={common.messages} role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <Line key={toast.id} toast={toast} />
      ))}
    </section>
  );
}

function Line({ toast }: { toast: Toast }) {
  const { id, text, trouble, undo } = toast;
  const takeBack = () => {
    closeToast(id);
    undo?.();
  };
  return (
    <div class={trouble ? "toast toast-trouble" : "toast"}>
      <div class="toast-text">
        <p>
          <Words text={text} />
        </p>
        {trouble?.hint && (
          <p class="toast-hint">
            <Words text={trouble.hint} />
          </p>
        )}
        {trouble?.code && <code class="problem-code">{trouble.code}</code>}
      </div>
      {undo && (
        <Button kind="quiet" onClick={takeBack}>
          {common.undo}
        </Button>
      )}
      <IconButton icon="close" label={common.close} onClick={() => closeToast(id)} />
    </div>
  );
}
