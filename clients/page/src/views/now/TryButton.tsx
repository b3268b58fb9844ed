import { ask, refreshInfo } from "../../live";
import { may } from "../../session/session";
import { now as texts } from "../../texts";
import { useAction } from "../../ui/actions";
import { Button } from "../../ui/Button";

/** Has a store or ComfyUI that does not work tried at once. Not there without the right to operate. */
export function TryButton({ scope, name }: { scope: string; name: string }) {
  const { run, pending } = useAction(async () => {
    await ask("resume", { scope });
    refreshInfo();
    return { text: texts.done.tried(name) };
  });
  if (!may("operate")) return null;
  return (
    <Button icon="retry" onClick={() => void run()} pending={pending.value} label={`${texts.tryNow}: ${name}`}>
      {texts.tryNow}
    </Button>
  );
}
