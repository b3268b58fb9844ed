// For whom the images are, whom they show, and by which workflow.
import type { CharacterInfo, Recipe } from "comfyledger";
import { href } from "../../route";
import { make as texts } from "../../texts";
import { CheckField, SelectField, TextField } from "../../ui/Field";
import { Combobox } from "./Combobox";
import type { Change, Form } from "./form";
import { defaultsOf } from "./ground";
import type { Mistakes } from "./mistakes";

export interface WhoProps {
  form: Form;
  mistakes: Mistakes;
  change: Change;
  workflows: readonly string[];
  characters: readonly CharacterInfo[];
  character?: CharacterInfo;
  /** The recipe that is used again. */
  recipe?: Recipe;
}

const LACKS_MAX = 3;

export function Who({ form, mistakes, change, workflows, characters, character, recipe }: WhoProps) {
  const isAgain = recipe !== undefined;
  const choices = workflows.map((name) => ({ value: name, text: name }));
  const options = characters.map(({ name, display_name }) => ({
    value: display_name,
    detail: display_name === name ? undefined : name,
  }));
  // The defaults of a character fit its own workflow, and mostly no other.
  const setWorkflow = (workflow: string) => {
    const fits = !character || defaultsOf(character, form.isPremade).workflow === workflow;
    change({ ...form, workflow, values: {}, sweeps: {}, usesDefaults: fits });
  };
  const setCharacter = (text: string) => change({ ...form, character: text });
  return (
    <fieldset class="make-part">
      <legend>{texts.who}</legend>
      {recipe && <Origin recipe={recipe} />}
      <div class="make-fields">
        <TextField
          label={texts.username}
          value={form.username}
          error={mistakes.username}
          autoComplete="off"
          spellcheck={false}
          onInput={(username) => change({ ...form, username })}
        />
        <Combobox
          label={texts.character}
          value={form.character}
          options={options}
          hint={options.length > 0 ? texts.characterHint : undefined}
          error={mistakes.character}
          onInput={setCharacter}
        />
        {!isAgain && (
          <SelectField
            label={texts.workflow}
            value={form.workflow}
            choices={choices}
            error={mistakes.workflow}
            onInput={setWorkflow}
          />
        )}
        {!isAgain && (
          <CheckField
            label={texts.premade}
            hint={texts.premadeHint}
            checked={form.isPremade}
            onInput={(isPremade) => change({ ...form, isPremade })}
          />
        )}
        {!isAgain && character && <Defaults form={form} character={character} change={change} />}
      </div>
    </fieldset>
  );
}

function Origin({ recipe: { batch_id, index, public_id, workflow } }: { recipe: Recipe }) {
  return (
    <p class="small">
      {texts.as} <a href={href("image", [batch_id, index])}>{public_id.split("/").at(-1)}</a>
      {workflow && ` · ${texts.by(workflow)}`}
    </p>
  );
}

function Defaults({ form, character, change }: { form: Form; character: CharacterInfo; change: Change }) {
  const { workflow } = defaultsOf(character, form.isPremade);
  const missing = Object.entries(character.missing ?? {});
  const lacks = missing.flatMap(([backend, sentences]) => sentences.map((sentence) => texts.lacks(backend, sentence)));
  const use = (usesDefaults: boolean) => {
    const isOther = usesDefaults && workflow !== form.workflow;
    change({ ...form, usesDefaults, ...(isOther ? { workflow, values: {}, sweeps: {} } : {}) });
  };
  return (
    <div>
      <CheckField
        label={texts.defaults}
        hint={workflow ? texts.defaultsOf(workflow) : undefined}
        checked={form.usesDefaults}
        onInput={use}
      />
      {form.usesDefaults && lacks.length > 0 && (
        <ul class="make-lacks small">
          {lacks.slice(0, LACKS_MAX).map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
    </div>
  );
}
