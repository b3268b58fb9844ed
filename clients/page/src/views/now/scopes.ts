// Pausing and resuming: everything, a ComfyUI, a store, a user or a batch. Each can be taken back.
import { ask, refreshInfo } from "../../live";
import { refreshBatches } from "../../live/batches";
import { now as texts } from "../../texts";
import type { Done } from "../../ui/actions";

/** `everything`, `backend:NAME`, `store:NAME`, `user:NAME` or `batch:ID`. */
export type Scope = string;

/** `name` is what the person calls it; `told` is said once it is paused. */
export async function pauseScope(scope: Scope, name: string, told = texts.done.paused): Promise<Done> {
  await change("pause", scope);
  return { text: told(name), undo: () => change("resume", scope) };
}

export async function resumeScope(scope: Scope, name: string): Promise<Done> {
  await change("resume", scope);
  return { text: texts.done.resumed(name), undo: () => change("pause", scope) };
}

async function change(type: "pause" | "resume", scope: Scope): Promise<void> {
  await ask(type, { scope });
  refreshInfo();
  refreshBatches();
}
