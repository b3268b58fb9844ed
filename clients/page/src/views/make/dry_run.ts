// What the daemon says of a request before it is sent: asked a moment after the last change of the form.
import { Refused, type BatchAccepted } from "comfyledger";
import { useEffect, useState } from "preact/hooks";
import { ask } from "../../live";
import type { Body } from "./form";

const AFTER_MS = 350;
const TIMEOUT_S = 20;
/** Nothing was said of the form; the banner says that the daemon is away. */
const SILENT: readonly string[] = ["not_running", "timeout", "unauthorized", "session_expired"];
/** A dry run uses no id up. */
const REQUEST_ID = "page-dry-run";

export interface Foretold {
  /** What the answer is about; that of an earlier form stays visible while the next one is asked for. */
  key: string;
  answer?: BatchAccepted;
  refused?: unknown;
}

/** `body`: undefined while the form is not complete. `after`: asks again when it changes. */
export function useDryRun(body: Body | undefined, after: string): Foretold & { isCurrent: boolean } {
  const key = body === undefined ? "" : after + JSON.stringify(body);
  const [foretold, setForetold] = useState<Foretold>({ key: "" });
  useEffect(() => {
    if (body === undefined) return undefined;
    const over = new AbortController();
    const timer = setTimeout(async () => {
      const found = await dryRun(body, over.signal);
      if (!over.signal.aborted) setForetold({ key, ...found });
    }, AFTER_MS);
    return () => {
      clearTimeout(timer);
      over.abort();
    };
  }, [key]);
  return { ...(body === undefined ? { key: "" } : foretold), isCurrent: key !== "" && foretold.key === key };
}

async function dryRun(body: Body, signal: AbortSignal): Promise<Omit<Foretold, "key">> {
  try {
    const request = { ...body, request_id: REQUEST_ID, dry_run: true };
    return { answer: await ask("submit_batch", request, { signal, timeoutS: TIMEOUT_S }) };
  } catch (error) {
    return { refused: error instanceof Refused && !SILENT.includes(error.code) ? error : undefined };
  }
}
