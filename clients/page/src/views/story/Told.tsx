import { href } from "../../route";
import { story as texts } from "../../texts";
import { Advice } from "../../ui/Advice";
import { Bar } from "../../ui/Bar";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { fineSpan } from "../../ui/spans";
import { Attempts } from "./Attempts";
import { spent, type Explained } from "./events";
import { Timeline } from "./Timeline";

/** A story, from what is left to do to every step. */
export function Told({ answer, onChange }: { answer: Explained; onChange: () => void }) {
  const { subject, events, batch } = answer;
  return (
    <div class="stack">
      <Links answer={answer} />
      <NoImage answer={answer} />
      {batch && <StillToDo owed={answer.owed} onChange={onChange} />}
      {subject === "image" && <Spent answer={answer} />}
      <Attempts events={events} isBatch={subject === "batch"} />
      <Timeline answer={answer} />
    </div>
  );
}

function Links({ answer: { image, batch } }: { answer: Explained }) {
  return (
    <p class="row">
      {image && <a href={href("image", [image.batch_id, image.index])}>{texts.image}</a>}
      {batch && <a href={href("gallery", [], { batch: batch.batch_id })}>{texts.gallery}</a>}
    </p>
  );
}

/** Why a number has no image. */
function NoImage({ answer: { subject, code = "", next = 0 } }: { answer: Explained }) {
  if (subject === "never") return <p class="card">{texts.never(next)}</p>;
  if (subject === "gap") return <p class="card">{texts.gaps[code] ?? code}</p>;
  return null;
}

function StillToDo({ owed, onChange }: { owed: Explained["owed"]; onChange: () => void }) {
  return (
    <section class="card stack" aria-labelledby="story-owed">
      <h2 id="story-owed">{texts.stillToDo}</h2>
      {owed.length === 0 && <p class="muted">{texts.nothing}</p>}
      <ul class="stack">
        {owed.map(({ text, command = "", since_ms, what, code, lane = "" }) => (
          <li key={`${what} ${code} ${lane} ${text}`} class="story-owed">
            <p>
              <Words text={text} />
              {since_ms ? (
                <span class="muted small">
                  {" "}
                  <Time atMs={since_ms} />
                </span>
              ) : null}
            </p>
            {command && <Advice command={command} onDone={onChange} />}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Spent({ answer }: { answer: Explained }) {
  const parts = spent(answer.events);
  if (parts.length < 2) return null; // it has not come far, or its events are not all shown
  const named = parts.map(({ kind, text, ms }) => ({ kind, value: ms, text: texts.took(text, fineSpan(ms)) }));
  const total = parts.reduce((sum, { ms }) => sum + ms, 0);
  return (
    <section class="card stack" aria-labelledby="story-times">
      <h2 id="story-times">{texts.times}</h2>
      <Bar label={texts.times} parts={named} total={total} />
      <ul class="row small">
        {named.map(({ kind, text }) => (
          <li key={kind} class={`story-key story-${kind}`}>
            {text}
          </li>
        ))}
      </ul>
    </section>
  );
}
