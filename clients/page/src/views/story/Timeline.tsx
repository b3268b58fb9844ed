import { story as texts } from "../../texts";
import { exact, fineSpan } from "../../ui/spans";
import { about, said, sentence, TONES, type Explained, type PastEvent } from "./events";

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** Every step: when, how long after the one before, what happened, and what others said about it. */
export function Timeline({ answer: { events, subject, left_out = {} } }: { answer: Explained }) {
  if (events.length === 0) return null;
  return (
    <section class="card stack" aria-labelledby="story-what">
      <h2 id="story-what">{texts.what}</h2>
      <ol class="story-steps">
        {events.map((event, at) => (
          <Step key={event.position} event={event} before={events[at - 1]} isBatch={subject === "batch"} />
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

function Step({ event, before, isBatch }: { event: PastEvent; before: PastEvent | undefined; isBatch: boolean }) {
  const words = said(event);
  const whose = isBatch ? about(event) : "";
  return (
    <li class={`story-step story-tone-${TONES[event.kind] ?? "calm"}`}>
      <time dateTime={new Date(event.at_ms).toISOString()} title={exact(event.at_ms)}>
        {CLOCK.format(event.at_ms)}
      </time>
      <span class="muted small">{before && texts.after(fineSpan(Math.max(0, event.at_ms - before.at_ms)))}</span>
      <span class="story-words">
        {sentence(event)}
        {whose && <span class="muted small"> · {whose}</span>}
        {words && <blockquote class="story-said">{words}</blockquote>}
      </span>
    </li>
  );
}
