import { story as texts } from "../../texts";
import { clock } from "../../ui/clock";
import { fineSpan } from "../../ui/spans";
import { attempts, type Attempt, type PastEvent } from "./events";

const SHOWN_MAX = 40;
const TAGS: Partial<Record<Attempt["outcome"], string>> = {
  finished: "tag-good",
  failed: "tag-bad",
  refused: "tag-bad",
  open: "tag-calm",
};

/** Every attempt as a bar on one scale of time: when it began, how long it took, where, and how it ended. */
export function Attempts({ events, isBatch }: { events: readonly PastEvent[]; isBatch: boolean }) {
  const all = attempts(events).slice(-SHOWN_MAX);
  if (all.length === 0) return null;
  const nowMs = clock.value;
  const beginMs = Math.min(...all.map(({ fromMs }) => fromMs));
  const endMs = Math.max(...all.map((one) => endOf(one, nowMs)));
  return (
    <section class="card stack" aria-labelledby="story-attempts">
      <h2 id="story-attempts">{texts.attempts}</h2>
      <ol class="story-attempts">
        {all.map((one) => (
          <li key={`${one.prompt} ${one.attempt}`}>
            <span>
              {texts.attempt(one.attempt, one.backend)}
              {isBatch && <span class="muted small"> · {texts.of.prompt([one.prompt])}</span>}
            </span>
            <span class="muted small">{fineSpan(endOf(one, nowMs) - one.fromMs)}</span>
            <span class={`tag ${TAGS[one.outcome] ?? "tag-wait"}`}>{texts.outcomes[one.outcome]}</span>
            <span class="story-track" aria-hidden="true">
              <span class={`story-span story-${one.outcome}`} style={place(one, beginMs, endMs, nowMs)} />
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** The clock may have been set back. */
function endOf({ fromMs, toMs }: Attempt, nowMs: number): number {
  return Math.max(fromMs, toMs ?? nowMs);
}

function place(one: Attempt, beginMs: number, endMs: number, nowMs: number) {
  const whole = Math.max(1, endMs - beginMs);
  const left = (100 * (one.fromMs - beginMs)) / whole;
  const width = Math.max(1, (100 * (endOf(one, nowMs) - one.fromMs)) / whole);
  return { marginLeft: `${Math.min(left, 99)}%`, width: `${Math.min(width, 100 - Math.min(left, 99))}%` };
}
