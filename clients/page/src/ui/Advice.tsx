import { useAction } from "./actions";
import { Button } from "./Button";
import { Copy } from "./Copy";
import { remediesOf, type Remedy } from "./remedies";

/** The command that helps: as buttons where the page can do it, otherwise to be copied. */
export function Advice({ command, onDone }: { command: string; onDone?: () => void }) {
  const remedies = remediesOf(command);
  if (remedies.length > 0) {
    return (
      <span class="row">
        {remedies.map((remedy, place) => (
          <RemedyButton key={`${command} ${remedy.text}`} remedy={remedy} isMain={place === 0} onDone={onDone} />
        ))}
      </span>
    );
  }
  return (
    <span class="row">
      <code>{command}</code>
      <Copy text={command} />
    </span>
  );
}

interface RemedyProps {
  remedy: Remedy;
  isMain: boolean;
  onDone?: () => void;
}

function RemedyButton({ remedy, isMain, onDone }: RemedyProps) {
  const { run, pending } = useAction(remedy.act, { question: remedy.question });
  const act = async () => {
    if (await run()) onDone?.();
  };
  return (
    <Button kind={isMain ? "main" : "plain"} onClick={() => void act()} pending={pending.value}>
      {remedy.text}
    </Button>
  );
}
