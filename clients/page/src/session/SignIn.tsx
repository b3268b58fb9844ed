// Signing in: instead of the views at first, and above them when a session has ended, so that nothing in them is lost.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { common, signIn as texts } from "../texts";
import { Button } from "../ui/Button";
import { TextField } from "../ui/Field";
import { Problem } from "../ui/Problem";
import { Spinner } from "../ui/Spinner";
import { Words } from "../ui/Words";
import { arrival } from "./arrival";
import { signIn } from "./session";

/** The whole page until somebody has signed in. */
export function SignInPage() {
  const { isPending, problem } = arrival.value;
  useEffect(() => {
    document.title = `${texts.title} · ${common.product}`;
  }, []);
  return (
    <main class="sign-in" id="content" tabIndex={-1}>
      <h1>{common.product}</h1>
      {isPending ? <Spinner told /> : <Invitation problem={problem} />}
    </main>
  );
}

function Invitation({ problem }: { problem: unknown }) {
  return (
    <>
      <p>{texts.intro}</p>
      {problem !== undefined && <Problem error={problem} />}
      <TokenForm />
      <p class="muted small">
        <Words text={texts.where} />
      </p>
    </>
  );
}

/** Above the views, which stay as they are. Escape does not close it: nothing works without a session. */
export function SignInAgain() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="sign-in-again" onCancel={(event) => event.preventDefault()}>
      <div class="stack">
        <h2 id="sign-in-again">{texts.again}</h2>
        <p>{texts.expired}</p>
        <TokenForm />
      </div>
    </dialog>
  );
}

function TokenForm() {
  const token = useSignal("");
  const pending = useSignal(false);
  const problem = useSignal<unknown>(undefined);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (pending.value) return;
    pending.value = true;
    problem.value = await signIn({ token: token.value.trim() }).then(() => undefined, (error: unknown) => error);
    pending.value = false;
  };
  return (
    <form class="stack" onSubmit={submit}>
      <TextField
        label={texts.token}
        type="password"
        value={token.value}
        onInput={(value) => (token.value = value)}
        autoComplete="off"
        spellcheck={false}
        required
      />
      {problem.value !== undefined && <Problem error={problem.value} />}
      <Button kind="main" type="submit" pending={pending.value}>
        {texts.button}
      </Button>
    </form>
  );
}
