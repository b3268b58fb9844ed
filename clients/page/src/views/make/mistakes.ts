// What is wrong with a form, by field: what the page sees itself, and what the daemon said. Pure.
import type { Refused } from "comfyledger";
import { make as texts } from "../../texts";
import { isLeftEmpty, linesOf, type Form, type FormInput, type Ground } from "./form";

/** Sentences by the key of a field: "username", "seed", or `input:` and the name of an input. */
export type Mistakes = Readonly<Record<string, string>>;

export const inputKey = (name: string): string => `input:${name}`;
const WHOLE = /^[+-]?\d+$/;

/** What need not be sent to know that it is wrong. */
export function ownMistakes(form: Form, ground: Ground): Mistakes {
  const found: Record<string, string | undefined> = {
    quantity: numberFault(form.quantity, { isWhole: true, min: 1 }),
    seed: form.seed.trim() && numberFault(form.seed, { isWhole: true, min: ground.seedMin, max: ground.seedMax }),
    imagesPerPrompt: numberFault(form.imagesPerPrompt, { isWhole: true, min: 1 }),
  };
  for (const input of ground.inputs) {
    const key = inputKey(input.name);
    const lines = form.sweeps[input.name];
    found[key] = lines === undefined ? inputFault(form, input) : sweepFault(input, lines);
  }
  return only(found);
}

function only(found: Record<string, string | undefined>): Mistakes {
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => Boolean(entry[1])));
}

function inputFault(form: Form, input: FormInput): string | undefined {
  const value = form.values[input.name];
  if (value === undefined || isLeftEmpty(input, value)) {
    return input.required ? texts.wrong.missing : undefined;
  }
  return typeof value === "string" ? textFault(input, value) : undefined;
}

function sweepFault(input: FormInput, text: string): string | undefined {
  const lines = linesOf(text);
  if (lines.length === 0) return texts.wrong.fewValues;
  for (const [place, line] of lines.entries()) {
    const fault = textFault(input, line);
    if (fault !== undefined) return texts.wrong.line(place + 1, fault);
  }
  return undefined;
}

function textFault({ kind, min, max }: FormInput, text: string): string | undefined {
  if (kind !== "int" && kind !== "float") return undefined;
  return numberFault(text, { isWhole: kind === "int", min, max });
}

interface Range {
  isWhole: boolean;
  min?: number | null;
  max?: number | null;
}

function numberFault(text: string, { isWhole, min, max }: Range): string | undefined {
  const { wrong } = texts;
  const written = text.trim();
  const number = Number(written);
  if (written === "" || !Number.isFinite(number)) return wrong.number;
  if (isWhole && !WHOLE.test(written)) return wrong.whole;
  if (typeof min === "number" && number < min) return wrong.small(String(min));
  if (typeof max === "number" && number > max) return wrong.large(String(max));
  return undefined;
}

const PLAIN: Readonly<Record<string, string>> = {
  username: "username",
  character: "character",
  premade: "premade",
  quantity: "quantity",
  seed: "seed",
  images_per_prompt: "imagesPerPrompt",
  priority: "priority",
  backend: "backend",
  needs: "needs",
  character_defaults: "usesDefaults",
};

/** What a refusal says, at the fields that it is about; empty if it is about none of them. */
export function refusedFields(refusal: Refused, inputs: readonly FormInput[]): Mistakes {
  const found: Record<string, string> = {};
  for (const mistake of refusal.mistakes) {
    const input = inputs.find((one) => one.node === mistake.node && one.input === mistake.input);
    if (input) found[inputKey(input.name)] ??= mistake.message;
  }
  const key = fieldAt(refusal.path, inputs);
  if (key !== undefined) found[key] ??= refusal.hint ? `${refusal.message} ${refusal.hint}` : refusal.message;
  return found;
}

/** The field that a path of the daemon names: `$.data.inputs.steps`, `$.data.inputs_each.cfg[1]`. */
function fieldAt(path: string, inputs: readonly FormInput[]): string | undefined {
  const [, field = "", rest = ""] = /^\$\.(?:data\.)?([a-z_]+)(?:\.(.*))?/.exec(path) ?? [];
  if (field === "inputs" || field === "inputs_each" || (field === "workflow" && rest)) {
    const name = rest.replace(/\[\d+\].*$/, "");
    const input = inputs.find((one) => one.name === name || `${one.node}.${one.input}` === name);
    return input && inputKey(input.name);
  }
  return PLAIN[field];
}
