// The one subscription to the log that the page has: every new event, for whoever listens. It goes on over broken
// connections and restarts of the daemon. After a restore it begins anew, and `onBegin` says so: what was known before
// may be wrong.
import { effect } from "@preact/signals";
import { Refused, type LedgerEvent } from "comfyledger";
import { isOver, session } from "../session/session";
import { client } from "./client";

const AGAIN_MS = 2_000;
const listeners = new Set<(event: LedgerEvent) => void>();
const beginners = new Set<() => void>();

/** Hears every new event. The function that it gives ends that. */
export function onEvent(listener: (event: LedgerEvent) => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Called when the events begin: at first, with another session, and after a restore. Ask for everything anew then. */
export function onBegin(beginner: () => void): () => void {
  beginners.add(beginner);
  return () => void beginners.delete(beginner);
}

/** Follows the log for as long as there is a session. Call it once. */
export function followLog(): void {
  effect(() => {
    const key = session.value?.key;
    if (key === undefined) return undefined;
    const over = new AbortController();
    void follow(key, over.signal);
    return () => over.abort();
  });
}

async function follow(key: string, signal: AbortSignal): Promise<void> {
  const forever = { signal, timeoutS: Infinity };
  while (!signal.aborted) {
    try {
      const { epoch, position } = await client().request("server_info", {}, forever);
      const events = client().subscribe({ after: position, epoch }, forever);
      for (const begin of beginners) begin();
      for await (const event of events) for (const listener of listeners) listener(event);
    } catch (error) {
      if (signal.aborted || isOver(error, key)) return;
      if (!(error instanceof Refused && error.code === "epoch_changed")) await pause(AGAIN_MS);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
