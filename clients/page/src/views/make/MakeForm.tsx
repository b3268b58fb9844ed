// The whole form: keeps what people write, and shows what follows from it.
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import type { CharacterInfo, Recipe } from "comfyledger";
import { ask } from "../../live";
import { make as texts } from "../../texts";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { useAsked } from "./asked";
import { draftOf, keepDraft } from "./draft";
import type { Change, Form } from "./form";
import { characterNamed, defaultsOf } from "./ground";
import { HowMany, Where } from "./HowMany";
import { InputField } from "./InputField";
import { useMaking, type Making } from "./making";
import { inputKey } from "./mistakes";
import { Outcome } from "./Outcome";
import { refusal } from "./sending";
import { Who } from "./Who";

export interface MakeFormProps {
  like: string;
  workflows: readonly string[];
}

const PAGE = 500;
const CHARACTERS_MAX = 2_000;
const NONE: readonly CharacterInfo[] = [];

export function MakeForm({ like, workflows }: MakeFormProps) {
  const recipe = useAsked(like, (signal) => ask("get_recipe", { image: like }, { signal }));
  if (recipe.error !== undefined) return <Problem error={recipe.error} />;
  if (like && !recipe.value) return <Spinner told />;
  return <Filled like={like} recipe={recipe.value} workflows={workflows} />;
}

function Filled({ like, recipe, workflows }: MakeFormProps & { recipe?: Recipe }) {
  const [form, setForm] = useState<Form>(() => draftOf(workflows, recipe));
  const characters = useAsked("characters", allCharacters).value ?? NONE;
  const making = useMaking(form, like, recipe, characters);
  const { ground, mistakes, described, send } = making;
  const change: Change = (next) => {
    refusal.value = undefined;
    setForm((now) => withWorkflowOf(typeof next === "function" ? next(now) : next, now, characters, workflows));
  };
  // Before the next event: a reload may follow at once.
  useLayoutEffect(() => {
    if (!like) keepDraft(form);
  }, [form]);
  useNoStrayDrops();
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    send();
  };
  const hasSeed = described?.has_seed ?? Boolean(recipe?.seeds.length);
  const common = { form, mistakes, change };
  return (
    <div class="make" onKeyDown={onKeyDown}>
      <form class="make-form" onSubmit={(event) => event.preventDefault()} noValidate>
        <Who {...common} {...{ workflows, characters }} character={making.character} recipe={recipe} />
        <Inputs making={making} form={form} isAgain={like !== ""} change={change} />
        <HowMany {...common} ground={ground} hasSeed={hasSeed} />
        <Where {...common} />
      </form>
      <Outcome making={making} />
    </div>
  );
}

interface InputsProps {
  making: Making;
  form: Form;
  isAgain: boolean;
  change: Change;
}

function Inputs({ making, form, isAgain, change }: InputsProps) {
  const { ground, mistakes, described, describing, isDescribed, character } = making;
  const firstEmpty = ground.inputs.find(({ kind, name }) => kind === "file" && form.values[name] === undefined);
  const template = character && form.usesDefaults && !isAgain ? defaultsOf(character, form.isPremade).prompt : "";
  return (
    <fieldset class="make-part">
      <legend>{texts.inputs}</legend>
      {describing !== undefined && <Problem error={describing} />}
      {!isDescribed && describing === undefined && <Spinner told />}
      {isDescribed && ground.inputs.length === 0 && <p class="muted">{texts.noInputs}</p>}
      {described?.suggested && <p class="muted small">{texts.suggested}</p>}
      {described && !described.backends?.length && <p class="muted small">{texts.unseen}</p>}
      <div class="make-fields">
        {ground.inputs.map((input) => (
          <InputField
            key={`${form.workflow} ${input.name}`}
            input={input}
            form={form}
            error={mistakes[inputKey(input.name)]}
            around={input.name === "prompt" && template ? template : undefined}
            takesPaste={input === firstEmpty}
            change={change}
          />
        ))}
      </div>
    </fieldset>
  );
}

/** A character that was chosen just now brings its workflow. */
function withWorkflowOf(
  next: Form,
  before: Form,
  characters: readonly CharacterInfo[],
  workflows: readonly string[],
): Form {
  const character = characterNamed(characters, next.character);
  if (!character || !next.usesDefaults || !before.workflow) return next;
  if (character === characterNamed(characters, before.character) && next.isPremade === before.isPremade) return next;
  const { workflow } = defaultsOf(character, next.isPremade);
  const isOther = workflow !== next.workflow && workflows.includes(workflow);
  return isOther ? { ...next, workflow, values: {}, sweeps: {} } : next;
}

async function allCharacters(signal: AbortSignal): Promise<CharacterInfo[]> {
  const found: CharacterInfo[] = [];
  let before: string | undefined;
  do {
    const wanted = { limit: PAGE, ...(before ? { before } : {}) };
    const page = await ask("list_characters", wanted, { signal, timeoutS: Infinity });
    found.push(...page.characters);
    before = page.more ? page.next_cursor : undefined;
  } while (before && found.length < CHARACTERS_MAX);
  return found;
}

/** A file that is dropped beside its field must not take the browser away from the page. */
function useNoStrayDrops(): void {
  useEffect(() => {
    const stay = (event: DragEvent) => event.preventDefault();
    addEventListener("dragover", stay);
    addEventListener("drop", stay);
    return () => {
      removeEventListener("dragover", stay);
      removeEventListener("drop", stay);
    };
  }, []);
}
