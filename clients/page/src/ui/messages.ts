// Short messages about what was done. They leave by themselves; refusals stay until they are closed.
import { signal } from "@preact/signals";
import type { Trouble } from "./Problem";

export interface Toast {
  id: number;
  text: string;
  trouble?: Trouble;
  /** Takes back what the message is about. */
  undo?: () => unknown;
}

const TOASTS_MAX = 4;
const STAY_MS = 8_000;
/** How much longer a message stays that somebody reads or is about to use (WCAG 2.2, 2.2.1). */
const STAY_MORE_MS = 2_000;
const READ = ".toasts:is(:hover, :focus-within)";

/** Oldest first. */
export const toasts = signal<readonly Toast[]>([]);
let number = 0;

/** Says that something was done; with `undo`, for some seconds it can be taken back. */
export function tell(text: string, undo?: () => unknown): void {
  const id = put({ text, undo });
  setTimeout(() => leave(id), STAY_MS);
}

/** Closes a message, but none under a pointer or with the focus in it. */
function leave(id: number): void {
  if (document.querySelector(READ) === null) closeToast(id);
  else setTimeout(() => leave(id), STAY_MORE_MS);
}

/** Says what was refused and what helps. */
export function tellTrouble(trouble: Trouble): void {
  put({ text: trouble.sentence, trouble });
}

export function closeToast(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function put(toast: Omit<Toast, "id">): number {
  const id = ++number;
  toasts.value = [...toasts.value, { ...toast, id }].slice(-TOASTS_MAX);
  return id;
}
