// Beside the form: what would be made, the button that makes it, and what was made.
import type { BatchAccepted } from "comfyledger";
import { connection } from "../../live";
import { make as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { useAction } from "../../ui/actions";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { MadeList } from "./Made";
import type { Making } from "./making";
import { forget, refusal, sendAgain, sending, silence } from "./sending";

const NAMES_MAX = 6;

export function Outcome({ making }: { making: Making }) {
  const { answer, isComplete, mistakes, refused, send } = making;
  const isReady = isComplete && refused === undefined && Object.keys(mistakes).length === 0;
  const isSending = sending.value !== undefined;
  return (
    <div class="make-outcome">
      <section class="card stack" aria-label={texts.check.title}>
        <h2>{texts.check.title}</h2>
        <div aria-live="polite" class="stack">
          <Foretold making={making} />
          {refusal.value !== undefined && <Problem error={refusal.value} />}
        </div>
        {isSending && silence.value !== undefined ? (
          <Silent />
        ) : (
          <Button kind="main" onClick={send} disabled={!isReady && !isSending} pending={isSending}>
            {isReady && answer ? texts.submit(answer.quantity) : texts.submitUnknown}
          </Button>
        )}
      </section>
      <MadeList />
    </div>
  );
}

function Foretold({ making: { isComplete, mistakes, isChecking, answer, refused } }: { making: Making }) {
  const { check } = texts;
  const wrong = Object.keys(mistakes).length;
  if (wrong > 0) return <p class="make-wrong">{check.mistakes(wrong)}</p>;
  if (!isComplete) return <p class="muted">{check.incomplete}</p>;
  if (refused !== undefined) return <Problem error={refused} />;
  if (connection.value === "away") return <p class="muted">{check.away}</p>;
  if (!answer) {
    return (
      <p class="muted row">
        <Spinner /> {check.checking}
      </p>
    );
  }
  return (
    <div class={isChecking ? "stack make-stale" : "stack"}>
      <p class="make-count">{check.images(answer.quantity)}</p>
      <Names answer={answer} />
      {answer.found?.slice(1).map((line) => (
        <p key={line} class="small muted">
          {line}
        </p>
      ))}
    </div>
  );
}

function Names({ answer }: { answer: BatchAccepted }) {
  const { check } = texts;
  const { numbers = [], names = [], public_ids = [] } = answer;
  if (numbers.length === 0) return <p class="muted">{check.unopened}</p>;
  const shown = names.length > NAMES_MAX ? [...names.slice(0, NAMES_MAX - 1)] : names;
  const folder = public_ids[0]?.split("/").slice(0, -1).join("/");
  return (
    <div>
      <p>{check.numbers(Math.min(...numbers), Math.max(...numbers))}</p>
      {folder && <p class="small muted">{folder}</p>}
      <ul class="make-names small" aria-label={check.names}>
        {shown.map((name) => (
          <li key={name}>
            <code>{name}</code>
          </li>
        ))}
        {names.length > shown.length && <li class="muted">{check.andMore(names.length - shown.length)}</li>}
      </ul>
    </div>
  );
}

/** The request has no answer: nobody knows whether the daemon has taken it. */
function Silent() {
  const { sending: words } = texts;
  const drop = useAction(async () => forget(), {
    question: () => ({
      title: words.dropTitle,
      consequences: [words.dropOne, words.dropTwo],
      confirm: words.drop,
      isDanger: true,
    }),
  });
  return (
    <div class="stack">
      <p>
        <strong>{words.title}</strong> {words.hint}
      </p>
      <Problem error={silence.value} />
      <div class="row">
        <Button kind="main" onClick={() => void sendAgain()}>
          {words.again}
        </Button>
        <Button onClick={() => void drop.run()}>{words.drop}</Button>
      </div>
    </div>
  );
}
