// The steps of a story: an event each, or several that say the same of one image or prompt after the other.
import { story as texts } from "../../texts";
import { about, said, sentence, type About, type PastEvent } from "./events";

export interface Step {
  /** The first of its events. */
  event: PastEvent;
  /** When its last event was, in milliseconds since 1970. */
  endMs: number;
  words: string;
  /** What ComfyUI, a store or a person said. */
  said: string;
  about: About | undefined;
}

/** What is said so soon again belongs together. */
const TOGETHER_MS = 1_000;

/** What happened to an image is told event by event. In a batch, neighbours that say the same are one step. */
export function steps(events: readonly PastEvent[], isBatch: boolean): Step[] {
  const found: Step[] = [];
  for (const event of events) {
    const step = stepOf(event);
    const before = found.at(-1);
    const both = isBatch && before ? joined(before, step) : undefined;
    if (both) found[found.length - 1] = both;
    else found.push(step);
  }
  return found;
}

function stepOf(event: PastEvent): Step {
  return { event, endMs: event.at_ms, words: sentence(event), said: said(event), about: about(event) };
}

/** Two steps as one; undefined if they say different things, or the same at different times. */
function joined(one: Step, other: Step): Step | undefined {
  if (one.event.kind !== other.event.kind || one.words !== other.words || one.said !== other.said) return undefined;
  if (one.about === undefined || one.about.of !== other.about?.of) return undefined;
  if (other.event.at_ms - one.endMs >= TOGETHER_MS) return undefined;
  const about = { of: one.about.of, indexes: [...one.about.indexes, ...other.about.indexes] };
  return { ...one, endMs: other.endMs, about };
}

/** "images 1 to 3, 5", "prompt 2"; empty for the batch itself. */
export function aboutWords(about: About | undefined): string {
  return about === undefined ? "" : texts.of[about.of](about.indexes);
}
