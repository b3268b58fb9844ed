// From what the daemon says of a workflow, a recipe and a character to what a form is about. Pure.
import type { CharacterDefaultsInfo, CharacterInfo, Recipe, WorkflowInput, WorkflowInputs } from "comfyledger";
import type { Form, FormInput, Ground, Shown } from "./form";

export const SEED_MAX = Number.MAX_SAFE_INTEGER;

export interface Sources {
  /** Undefined for a recipe whose graph came with its request: then the inputs are those of the recipe. */
  described?: WorkflowInputs;
  recipe?: Recipe;
  like: string;
  character?: CharacterInfo;
}

export function groundOf(form: Form, { described, recipe, like, character }: Sources): Ground {
  const inputs = described?.inputs ?? (recipe ? inputsOfRecipe(recipe) : []);
  const defaults = character && form.usesDefaults && !like ? defaultsOf(character, form.isPremade) : undefined;
  const standing = { ...defaults?.inputs, ...recipe?.inputs };
  return {
    inputs: inputs.map((input) => standingIn(input, standing, recipe)),
    seedMin: described?.seed_min ?? 0,
    seedMax: described?.seed_max ?? SEED_MAX,
    imagesPerPromptMax: described?.images_per_prompt_max ?? recipe?.batch_size ?? 1,
    like,
    likeSeed: recipe ? String(recipe.seed) : "",
    likePerPrompt: recipe ? String(recipe.batch_size) : "1",
    hasDefaults: character !== undefined,
  };
}

export function defaultsOf(character: CharacterInfo, isPremade: boolean): CharacterDefaultsInfo {
  return isPremade ? character.premade : character.own;
}

/** The character that a text means: by its name in names of files, whatever signs stand between its words. */
export function characterNamed(characters: readonly CharacterInfo[], text: string): CharacterInfo | undefined {
  const wanted = plain(text);
  return wanted ? characters.find((one) => plain(one.name) === wanted || plain(one.display_name) === wanted) : undefined;
}

function plain(text: string): string {
  return text.normalize("NFKD").toLowerCase().replace(/[^\p{Letter}\p{Number}]+/gu, "-").replace(/^-|-$/g, "");
}

/** An input with what stands there: what a character or a recipe has goes before what the workflow has. */
function standingIn(input: WorkflowInput, standing: Record<string, unknown>, recipe?: Recipe): FormInput {
  const address = `${input.node}.${input.input}`;
  const file = recipe?.files?.find((one) => one.address === address);
  if (file) return { ...input, required: false, shown: null, shownName: file.image || file.file || file.sha256 };
  const value = (standing[input.name] ?? standing[address]) as Shown | undefined;
  const shown = value ?? input.default ?? null;
  const isGiven = value !== undefined && value !== null;
  return { ...input, required: input.required && !isGiven, shown, shownName: nameOf(shown) };
}

function nameOf(shown: Shown): string | undefined {
  if (typeof shown === "object") return shown?.input;
  return typeof shown === "string" && shown !== "" ? shown : undefined;
}

/** The inputs of a graph that came with a request: the values that the request gave, by name or address. */
function inputsOfRecipe(recipe: Recipe): WorkflowInput[] {
  const values = Object.entries({ ...recipe.defaults, ...recipe.inputs });
  return values.flatMap(([name, value]) => {
    const kind = kindOf(value);
    if (kind === undefined) return [];
    const [node = "", input = ""] = splitOnce(name);
    return [{ name, label: name, node, input, kind, default: value as WorkflowInput["default"], multiline: kind === "text" }];
  });
}

function splitOnce(address: string): [string, string] {
  const at = address.indexOf(".");
  return at < 0 ? ["", address] : [address.slice(0, at), address.slice(at + 1)];
}

function kindOf(value: unknown): WorkflowInput["kind"] | undefined {
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  return typeof value === "string" ? "text" : undefined;
}
