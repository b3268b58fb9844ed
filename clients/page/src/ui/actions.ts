// Actions of buttons: pending while they run, a refusal is shown with its hint, and what was done can be taken back.
import { useSignal, type Signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { common } from "../texts";
import { confirmed, type Question } from "./confirming";
import { troubleOf } from "./Problem";
import { tell, tellTrouble } from "./messages";

/** What an action did. Nothing is said without `text`. */
export interface Done {
  text: string;
  /** Takes it back. */
  undo?: () => Promise<unknown>;
}

export interface Action<A extends unknown[]> {
  /** Resolves to whether it was done; never rejects. A second call while the first runs does nothing. */
  run: (...args: A) => Promise<boolean>;
  pending: Signal<boolean>;
}

export interface ActionOptions<A extends unknown[]> {
  /** Asked before. Give it for what cannot be taken back. */
  question?: (...args: A) => Question;
}

/** An action of a component: `const pause = useAction(async (store) => { … return { text, undo }; });` */
export function useAction<A extends unknown[]>(
  work: (...args: A) => Promise<Done | void>,
  { question }: ActionOptions<A> = {},
): Action<A> {
  const pending = useSignal(false);
  const latest = useRef({ work, question });
  latest.current = { work, question };
  const run = async (...args: A): Promise<boolean> => {
    if (pending.peek()) return false;
    const { work, question } = latest.current;
    if (question && !(await confirmed(question(...args)))) return false;
    pending.value = true;
    const isDone = await perform(() => work(...args));
    pending.value = false;
    return isDone;
  };
  return { run, pending };
}

/** Runs an action outside a component. Resolves to whether it was done. */
export async function perform(work: () => Promise<Done | void>): Promise<boolean> {
  try {
    const done = await work();
    if (done) tell(done.text, done.undo && undoing(done.undo));
    return true;
  } catch (error) {
    tellTrouble(troubleOf(error));
    return false;
  }
}

function undoing(undo: () => Promise<unknown>): () => unknown {
  return () => perform(async () => {
    await undo();
    return { text: common.undone };
  });
}
