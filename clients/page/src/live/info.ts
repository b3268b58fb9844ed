// What the daemon says of itself: backends, stores, lanes, what waits. It is asked again after events, and from time to
// time for what is no event.
import { effect, signal } from "@preact/signals";
import type { Answer } from "comfyledger";
import { ask, connection } from "./client";
import { onBegin, onEvent } from "./events";
import { inFrame } from "./frames";
import { refresher } from "./refresh";

export type Info = Answer<"server_info">;

const PAUSE_MS = 2_000;
const SELDOM_MS = 10_000;

export const info = signal<Info | undefined>(undefined);

/** Asks soon. */
export const refreshInfo = refresher(async () => {
  if (connection.peek() === "away") return;
  try {
    const latest = await ask("server_info", {});
    inFrame(() => (info.value = latest));
  } catch {
    // The banner says that the daemon is away. The next event, or the next look from time to time, asks again.
  }
}, PAUSE_MS);

/** Keeps `info` current. Call it once. */
export function followInfo(): void {
  onBegin(refreshInfo);
  onEvent(refreshInfo);
  effect(() => {
    if (connection.value === "connected") refreshInfo();
  });
  setInterval(() => document.visibilityState === "visible" && refreshInfo(), SELDOM_MS);
}
