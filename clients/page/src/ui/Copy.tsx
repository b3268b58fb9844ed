import { useState } from "preact/hooks";
import { common } from "../texts";
import { IconButton } from "./IconButton";
import { tell } from "./messages";

/** Copies a text, such as a command or a name. `what` names it: "Copy the command". */
export function Copy({ text, what = common.copy }: { text: string; what?: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    if (!(await copied(text))) return;
    setCopied(true);
    tell(common.copied);
  };
  return <IconButton icon={isCopied ? "check" : "copy"} label={what} onClick={copy} />;
}

/** The clipboard exists only where the page is at localhost or has TLS; elsewhere a selected field does it. */
async function copied(text: string): Promise<boolean> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  return isDone;
}
