// Asking again when something has changed, as seldom as is enough: never twice at a time, and with pauses in between
// that grow with what an answer costs.

/** Gives a function that has `work` done soon; at least `pauseMs` lie between two. `work` must not reject. */
export function refresher(work: () => Promise<void>, pauseMs: number): () => void {
  let isRunning = false;
  let isWanted = false;
  let nextMs = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const run = async () => {
    timer = undefined;
    isWanted = false;
    isRunning = true;
    const beganMs = performance.now();
    await work();
    const endedMs = performance.now();
    isRunning = false;
    nextMs = endedMs + Math.max(pauseMs, COST_FACTOR * (endedMs - beganMs));
    if (isWanted) plan();
  };
  const plan = () => {
    timer ??= setTimeout(run, Math.max(0, nextMs - performance.now()));
  };
  return () => {
    isWanted = true;
    if (!isRunning) plan();
  };
}

/** The pause is at least so many times as long as the last answer took. */
const COST_FACTOR = 4;
