import { now as texts } from "../../texts";
import { useAction, type ActionOptions } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { may } from "../../session/session";
import { pauseScope, resumeScope, type Scope } from "./scopes";

export interface PauseButtonProps {
  scope: Scope;
  /** What the person calls it: "Store folder". */
  name: string;
  isPaused: boolean;
  /** The words of the button, if they are not Pause and Resume. */
  pause?: string;
  resume?: string;
  title?: string;
  /** What is said once it is paused. */
  told?: (name: string) => string;
  question?: ActionOptions<[]>["question"];
}

/** Pauses, or resumes what is paused. Not there without the right to operate. */
export function PauseButton({ scope, name, isPaused, question, told, ...words }: PauseButtonProps) {
  const pausing = useAction(() => pauseScope(scope, name, told), { question });
  const resuming = useAction(() => resumeScope(scope, name));
  if (!may("operate")) return null;
  const { run, pending } = isPaused ? resuming : pausing;
  const text = isPaused ? (words.resume ?? texts.resume) : (words.pause ?? texts.pause);
  const isNamed = ` ${text} `.toLowerCase().includes(` ${name.toLowerCase()} `);
  const label = isNamed ? text : `${text}: ${name}`;
  return (
    <Button
      icon={isPaused ? "play" : "pause"}
      onClick={() => void run()}
      pending={pending.value}
      label={label}
      title={isPaused ? undefined : words.title}
    >
      {text}
    </Button>
  );
}
