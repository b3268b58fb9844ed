// Work that changes what is shown, done once a frame: a thousand events in one frame cost one render.
import { batch } from "@preact/signals";

/** A hidden page gets no frames. */
const HIDDEN_MS = 1_000;

const waiting = new Set<() => void>();
let isAsked = false;

/** Does `work` before the next frame, and once, however often it was asked for meanwhile. */
export function inFrame(work: () => void): void {
  waiting.add(work);
  if (isAsked) return;
  isAsked = true;
  if (document.visibilityState === "visible") requestAnimationFrame(flush);
  else setTimeout(flush, HIDDEN_MS);
}

function flush(): void {
  isAsked = false;
  const now = [...waiting];
  waiting.clear();
  batch(() => now.forEach((work) => work()));
}

// A frame that was asked for before the page was hidden may never come.
document.addEventListener("visibilitychange", () => {
  if (isAsked) flush();
});
