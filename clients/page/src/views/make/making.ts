// What follows from a form: the fields that it has, what is wrong with them, and what would be made.
import { useMemo } from "preact/hooks";
import { Refused, type BatchAccepted, type CharacterInfo, type Recipe, type WorkflowInputs } from "comfyledger";
import { ask, connection } from "../../live";
import { useAsked } from "./asked";
import { useDryRun } from "./dry_run";
import { bodyOf, type Form, type FormInput, type Ground } from "./form";
import { characterNamed, groundOf } from "./ground";
import { ownMistakes, refusedFields, type Mistakes } from "./mistakes";
import { made, refusal, submit } from "./sending";

export interface Making {
  ground: Ground;
  character?: CharacterInfo;
  /** What the daemon says of the workflow; undefined until it has, and for a graph that came with a request. */
  described?: WorkflowInputs;
  /** Why it does not say it. */
  describing?: unknown;
  isDescribed: boolean;
  /** Whether user and character are there. */
  isComplete: boolean;
  mistakes: Mistakes;
  /** A refusal that is about none of the fields. */
  refused?: unknown;
  answer?: BatchAccepted;
  isChecking: boolean;
  /** Sends the request, if nothing is known to be wrong. */
  send: () => void;
}

/** An answer may be long in coming while the daemon is away. */
const PATIENT = { timeoutS: Infinity };

export function useMaking(form: Form, like: string, recipe: Recipe | undefined, characters: readonly CharacterInfo[]): Making {
  const { workflow } = form;
  const asked = useAsked(workflow, (signal) => ask("describe_workflow", { workflow }, { signal, ...PATIENT }));
  const described = asked.value;
  const character = characterNamed(characters, form.character);
  const ground = useMemo(
    () => groundOf(form, { described, recipe, like, character }),
    [form, described, recipe, character],
  );
  const isDescribed = workflow === "" || described !== undefined;
  const isComplete = form.username.trim() !== "" && form.character.trim() !== "" && isDescribed;
  const own = ownMistakes(form, ground);
  const isChecked = isComplete && Object.keys(own).length === 0;
  const foretold = useDryRun(isChecked ? bodyOf(form, ground) : undefined, generation());
  const theirs = theirMistakes(refusal.value ?? foretold.refused, ground.inputs);
  const send = () => {
    if (isChecked && foretold.refused === undefined) submit(bodyOf(form, ground));
  };
  return {
    ground,
    character,
    described,
    describing: asked.error,
    isDescribed,
    isComplete,
    mistakes: { ...theirs, ...own },
    refused: Object.keys(theirs).length > 0 ? undefined : foretold.refused,
    answer: foretold.answer,
    isChecking: !foretold.isCurrent,
    send,
  };
}

/** What changes when the same form may give another answer: numbers were used, or the daemon is back. */
function generation(): string {
  return `${made.value[0]?.accepted.batch_id} ${connection.value === "away"} `;
}

function theirMistakes(said: unknown, inputs: readonly FormInput[]): Mistakes {
  return said instanceof Refused ? refusedFields(said, inputs) : {};
}
