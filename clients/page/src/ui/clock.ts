// The present time for everything that shows how long ago something was: one timer for the whole page.
import { signal } from "@preact/signals";

const EVERY_MS = 5_000;

/** Milliseconds since 1970, renewed every few seconds while the page is visible. */
export const clock = signal(Date.now());

function renew(): void {
  if (document.visibilityState === "visible") clock.value = Date.now();
}

setInterval(renew, EVERY_MS);
document.addEventListener("visibilitychange", renew);
