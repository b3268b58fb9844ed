// What the form has, and the request that follows from it. Pure. A field that is as the workflow, the character or the
// recipe has it is not in `values`, and is not sent.
import type { FileAsked, RequestData, WorkflowInput } from "comfyledger";

/** A file for an input: `preview` is an address for <img>, and does not outlive the page. */
export interface ChosenFile {
  asked: FileAsked;
  name: string;
  preview?: string;
}

/** What is written in a field: numbers stay text, so that an unfinished one stays visible. */
export type Written = string | boolean | ChosenFile;
/** What stands in a field while nobody has changed it. */
export type Shown = WorkflowInput["default"];

export interface Form {
  /** Empty: the graph that the recipe of `like` recorded. */
  workflow: string;
  username: string;
  character: string;
  isPremade: boolean;
  usesDefaults: boolean;
  values: Readonly<Record<string, Written>>;
  /** Inputs that get several values: one a line. In the order in which they were chosen. */
  sweeps: Readonly<Record<string, string>>;
  seed: string;
  quantity: string;
  imagesPerPrompt: string;
  priority: Priority;
  backend: string;
  /** Tags with commas. */
  needs: string;
}

/** Changes the form: to another one, or from what it is by then. */
export type Change = (next: Form | ((now: Form) => Form)) => void;

export type Body = Omit<RequestData<"submit_batch">, "request_id">;
type Priority = NonNullable<Body["priority"]>;

/** An input of the form: as the daemon describes it, with what stands there before anybody writes. */
export interface FormInput extends WorkflowInput {
  shown: Shown;
  /** A name for `shown` where it is a file. */
  shownName?: string;
}

/** What a form is about besides what people write. */
export interface Ground {
  inputs: readonly FormInput[];
  seedMin: number;
  seedMax: number;
  imagesPerPromptMax: number;
  /** The image whose recipe is used again; empty without one. */
  like: string;
  likeSeed: string;
  likePerPrompt: string;
  /** Whether the character is one with defaults. */
  hasDefaults: boolean;
}

export const SWEEPS_MAX = 2;

export const EMPTY_FORM: Form = {
  workflow: "",
  username: "",
  character: "",
  isPremade: false,
  usesDefaults: true,
  values: {},
  sweeps: {},
  seed: "",
  quantity: "1",
  imagesPerPrompt: "1",
  priority: "normal",
  backend: "",
  needs: "",
};

/** What a field shows: what was written, or else what stands there. */
export function writtenIn(form: Form, input: FormInput): Written {
  const written = form.values[input.name];
  if (written !== undefined) return written;
  const { shown, kind } = input;
  if (kind === "bool") return shown === true;
  return shown === null || shown === undefined || typeof shown === "object" ? "" : String(shown);
}

/** The form with another value in a field. Writing what stands there anyway takes the value out again. */
export function write(form: Form, input: FormInput, value: Written | undefined): Form {
  const { [input.name]: _, ...others } = form.values;
  const isSame = value === undefined || (typeof value !== "object" && sameAs(value, input));
  return { ...form, values: isSame ? others : { ...others, [input.name]: value } };
}

function sameAs(value: string | boolean, { shown }: FormInput): boolean {
  if (shown === null || shown === undefined) return value === "";
  return typeof shown !== "object" && String(value) === String(shown);
}

/** Whether a field was emptied whose input takes no empty text: then what stands there counts. */
export function isLeftEmpty({ kind }: FormInput, value: Written | undefined): boolean {
  return kind !== "text" && typeof value === "string" && value.trim() === "";
}

/** The form with other values of a sweep; undefined ends it. */
export function sweep(form: Form, input: FormInput, lines: string | undefined): Form {
  const { [input.name]: _, ...others } = form.sweeps;
  if (lines === undefined) return { ...form, sweeps: others };
  return { ...form, sweeps: { ...form.sweeps, [input.name]: lines } };
}

export function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

/** What an input takes for a text that somebody wrote. */
export function valueOf({ kind, choices = [] }: FormInput, text: string): string | number | boolean {
  if (kind === "int" || kind === "float") return Number(text);
  if (kind === "bool") return text === "true";
  if (kind === "choice") return choices.find((choice) => String(choice) === text) ?? text;
  return text;
}

/** How many combinations the sweeps have. */
export function combinations(form: Form): number {
  return Object.values(form.sweeps).reduce((product, text) => product * linesOf(text).length, 1);
}

export function bodyOf(form: Form, ground: Ground): Body {
  const { like } = ground;
  return {
    username: form.username.trim(),
    character: form.character.trim(),
    quantity: Number(form.quantity),
    priority: form.priority,
    ...(like ? { like } : { workflow: form.workflow, premade: form.isPremade }),
    ...(ground.hasDefaults && !like ? { character_defaults: form.usesDefaults } : {}),
    ...inputsOf(form, ground),
    ...seedOf(form, ground),
    ...perPromptOf(form, ground),
    ...(form.backend ? { backend: form.backend } : {}),
    ...(form.needs.trim() ? { needs: linesOf(form.needs.replaceAll(",", "\n")) as Body["needs"] } : {}),
  };
}

function inputsOf(form: Form, { inputs }: Ground): Pick<Body, "inputs" | "inputs_each"> {
  const known = new Map(inputs.map((input) => [input.name, input]));
  const isSent = ([name, value]: [string, Written]) => {
    const one = known.get(name);
    return one !== undefined && !(name in form.sweeps) && !isLeftEmpty(one, value);
  };
  const one = Object.entries(form.values).filter(isSent);
  const each = Object.entries(form.sweeps).filter(([name]) => known.has(name));
  const input = (name: string) => known.get(name) as FormInput;
  const sent = (name: string, value: Written) =>
    typeof value === "object" ? value.asked : typeof value === "boolean" ? value : valueOf(input(name), value);
  return {
    ...(one.length > 0 && { inputs: Object.fromEntries(one.map(([name, value]) => [name, sent(name, value)])) }),
    ...(each.length > 0 && {
      inputs_each: Object.fromEntries(
        each.map(([name, text]) => [name, linesOf(text).map((line) => valueOf(input(name), line))] as const),
      ) as Body["inputs_each"],
    }),
  };
}

/** With a recipe, an absent seed is that of the recipe. */
function seedOf({ seed }: Form, { like, likeSeed }: Ground): Pick<Body, "seed"> {
  const written = seed.trim();
  if (like && written === likeSeed) return {};
  if (written === "") return like ? { seed: "random" } : {};
  return { seed: Number(written) };
}

/** With a recipe, an absent number is that of the recipe. */
function perPromptOf({ imagesPerPrompt }: Form, { like, likePerPrompt }: Ground): Pick<Body, "images_per_prompt"> {
  if (imagesPerPrompt === (like ? likePerPrompt : "1")) return {};
  return { images_per_prompt: Number(imagesPerPrompt) };
}
