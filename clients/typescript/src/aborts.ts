/** What happens when a signal is aborted. */
type Act = () => void;

const waiting = new WeakMap<AbortSignal, Set<Act>>();

/**
 * Calls `act` once when the signal is aborted, at once if it is aborted already. The answer takes that back.
 *
 * However many calls share a signal, it has one listener: Node warns of a leak at eleven.
 */
export function onAbort(signal: AbortSignal, act: Act): () => void {
  if (signal.aborted) {
    act();
    return () => undefined;
  }
  const acts = waiting.get(signal) ?? listenTo(signal);
  acts.add(act);
  return () => {
    acts.delete(act);
  };
}

function listenTo(signal: AbortSignal): Set<Act> {
  const acts = new Set<Act>();
  waiting.set(signal, acts);
  const all = (): void => {
    for (const act of acts) act();
    acts.clear();
  };
  signal.addEventListener("abort", all, { once: true });
  return acts;
}
