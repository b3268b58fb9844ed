// What people have written, kept for this tab so that a reload loses nothing; and where a form begins.
import type { Recipe } from "comfyledger";
import { EMPTY_FORM, type ChosenFile, type Form } from "./form";

const KEPT_AS = "comfyledger.make.draft";

export function keepDraft(form: Form): void {
  sessionStorage.setItem(KEPT_AS, JSON.stringify(form, withoutPreview));
}

/** The form of a recipe, or the one that was kept, or an empty one with the first workflow. */
export function draftOf(workflows: readonly string[], recipe?: Recipe): Form {
  if (recipe) return formOf(recipe);
  const text = sessionStorage.getItem(KEPT_AS);
  const kept = text === null ? EMPTY_FORM : { ...EMPTY_FORM, ...(JSON.parse(text) as Form) };
  if (workflows.includes(kept.workflow)) return kept;
  return { ...kept, workflow: workflows[0] ?? "", values: {}, sweeps: {} };
}

function formOf({ workflow, username, character, seed, batch_size }: Recipe): Form {
  const perPrompt = String(batch_size);
  return { ...EMPTY_FORM, workflow, username, character, seed: String(seed), quantity: perPrompt, imagesPerPrompt: perPrompt };
}

/** An address of a file in memory ends with the page. */
function withoutPreview(key: string, value: unknown): unknown {
  return key === "preview" && String(value).startsWith("blob:") ? undefined : (value as ChosenFile);
}
