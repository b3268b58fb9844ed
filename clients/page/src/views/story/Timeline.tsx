import { story as texts } from "../../texts";
import { exact, fineSpan } from "../../ui/spans";
import { TONES, type Explained } from "./events";
import { aboutWords, steps, type Step } from "./steps";

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** Every step, by day: when, how long after the one before, what happened, and what others said about it. */
export function Timeline({ answer: { events, subject, left_out = {} } }: { answer: Explained }) {
  if (events.length === 0) return null;
  const isBatch = subject === "batch";
  const told = steps(events, isBatch);
  return (
    <section class="card stack" aria-labelledby="story-what">
      <h2 id="story-what">{texts.what}</h2>
      <ol class="story-steps">
        {told.map((step, at) => (
          <StepLine key={step.event.position} step={step} before={told[at - 1]} isBatch={isBatch} />
        ))}
      </ol>
      {Object.entries(left_out).map(([kind, n]) => (
        <p key={kind} class="muted small">
          {texts.leftOut(n, kind)}
        </p>
      ))}
    </section>
  );
}

function StepLine({ step, before, isBatch }: { step: Step; before: Step | undefined; isBatch: boolean }) {
  const { event, words, said } = step;
  const whose = isBatch ? aboutWords(step.about) : "";
  const day = DAY.format(event.at_ms);
  const passedMs = before ? event.at_ms - before.endMs : 0;
  return (
    <li class={`story-step story-tone-${TONES[event.kind] ?? "calm"}`}>
      {(before === undefined || DAY.format(before.endMs) !== day) && <span class="story-day muted small">{day}</span>}
      <time dateTime={new Date(event.at_ms).toISOString()} title={exact(event.at_ms)}>
        {CLOCK.format(event.at_ms)}
      </time>
      <span class="story-after muted small">{passedMs >= 1 && texts.after(fineSpan(passedMs))}</span>
      <span class="story-words">
        {words}
        {whose && <span class="muted small"> · {whose}</span>}
        {said && <blockquote class="story-said">{said}</blockquote>}
      </span>
    </li>
  );
}
