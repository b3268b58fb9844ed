import { useAction } from "./actions";
import { Button } from "./Button";
import { Copy } from "./Copy";
import { remedyOf, type Remedy } from "./remedies";

/** The command that helps: as a button where the page can do it, otherwise to be copied. */
export function Advice({ command, onDone }: { command: string; onDone?: () => void }) {
  const remedy = remedyOf(command);
  if (remedy) return <RemedyButton key={command} remedy={remedy} onDone={onDone} />;
  return (
    <span class="row">
      <code>{command}</code>
      <Copy text={command} />
    </span>
  );
}

function RemedyButton({ remedy, onDone }: { remedy: Remedy; onDone?: () => void }) {
  const { run, pending } = useAction(remedy.act, { question: remedy.question });
  const act = async () => {
    if (await run()) onDone?.();
  };
  return (
    <Button kind="main" onClick={() => void act()} pending={pending.value}>
      {remedy.text}
    </Button>
  );
}
