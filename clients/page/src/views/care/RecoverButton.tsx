import type { RequestData } from "comfyledger";
import { care as texts } from "../../texts";
import { useAction } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { recover } from "../../ui/remedies";

export interface RecoverProps {
  /** The words of the button. */
  text: string;
  wanted: RequestData<"recover">;
  onDone: () => void;
}

/** Tries again all that fits. Show it to the right `operate` only. */
export function RecoverButton({ text, wanted, onDone }: RecoverProps) {
  const { run, pending } = useAction(async () => ({ text: texts.retried(await recover(wanted)) }));
  const act = async () => {
    if (await run()) onDone();
  };
  return (
    <Button onClick={() => void act()} pending={pending.value}>
      {text}
    </Button>
  );
}
