import { Refused } from "comfyledger";
import { common } from "../texts";
import { Words } from "./Words";

export interface Trouble {
  code: string;
  sentence: string;
  hint: string;
}

/** What went wrong, in the daemon's words: it says a code, a sentence and a hint. */
export function troubleOf(error: unknown): Trouble {
  if (error instanceof Refused) return { code: error.code, sentence: error.message, hint: error.hint };
  return { code: "", sentence: error instanceof Error && error.message ? error.message : common.failed, hint: "" };
}

/** A refusal, in the place where it happened. */
export function Problem({ error }: { error: unknown }) {
  const { code, sentence, hint } = troubleOf(error);
  return (
    <div class="problem" role="alert">
      <p class="problem-sentence">
        <Words text={sentence} />
      </p>
      {hint && (
        <p>
          <Words text={hint} />
        </p>
      )}
      {code && <code class="problem-code">{code}</code>}
    </div>
  );
}
