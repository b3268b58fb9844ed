// The question before something that cannot be taken back. `confirmed` asks it; ConfirmDialog shows it.
import { signal } from "@preact/signals";

export interface Question {
  title: string;
  /** What will happen, one sentence each, with names and numbers: "3 images of Opal Fever are forgotten." */
  consequences: readonly string[];
  /** The words of the button, a verb: "Forget 3 images". */
  confirm: string;
  isDanger?: boolean;
}

export interface Asked extends Question {
  /** Of each question another one: two with the same words are two. */
  id: number;
  answer: (isYes: boolean) => void;
}

export const asked = signal<Asked | undefined>(undefined);

let count = 0;

/** Resolves to whether the person agreed. One question at a time: a new one answers the old one with no. */
export function confirmed(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    const answer = (isYes: boolean) => {
      if (asked.value?.answer === answer) asked.value = undefined;
      resolve(isYes);
    };
    asked.value = { ...question, id: ++count, answer };
  });
}
