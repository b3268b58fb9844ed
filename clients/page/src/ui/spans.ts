// Times as people say them. Everything takes the present time as an argument.
import { time as texts } from "../texts";

const STEPS = [
  { ms: 86_400_000, from: 2 * 86_400_000, say: texts.days },
  { ms: 3_600_000, from: 5_400_000, say: texts.hours },
  { ms: 60_000, from: 90_000, say: texts.minutes },
  { ms: 1_000, from: 0, say: texts.seconds },
] as const;

/** 95,000 ms → "2 min". */
export function span(ms: number): string {
  const step = STEPS.find(({ from }) => ms >= from) ?? STEPS[3];
  return step.say(Math.max(0, Math.round(ms / step.ms)));
}

/** As `span`, but below two seconds in milliseconds: for steps that follow each other. */
export function fineSpan(ms: number): string {
  return ms < 2_000 ? texts.milliseconds(Math.max(0, Math.round(ms))) : span(ms);
}

/** "3 min ago", "in 2 h", "just now". */
export function relative(atMs: number, nowMs: number): string {
  const passed = nowMs - atMs;
  if (Math.abs(passed) < 1_000) return texts.now;
  return passed > 0 ? texts.ago(span(passed)) : texts.ahead(span(-passed));
}

const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Date and time in the reader's own way of writing. */
export function exact(atMs: number): string {
  return EXACT.format(atMs);
}
