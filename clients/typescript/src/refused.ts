import type { ErrorCode, MistakeInfo } from "./wire.js";

/** What a refusal says besides its code and its sentence. */
export interface RefusalDetails {
  hint?: string;
  path?: string;
  retryAfterS?: number;
  mistakes?: readonly MistakeInfo[];
}

/** What the daemon sends for a refusal: `message` over the websocket, `detail` over HTTP. */
interface Said {
  code?: unknown;
  message?: string;
  detail?: string;
  hint?: string;
  path?: string;
  retry_after_s?: number;
  mistakes?: MistakeInfo[];
}

/**
 * A request was refused, or got no answer. Nothing was changed, unless `code` is `timeout` or `not_running`: then the
 * request may have been done, and may be sent again with the same body.
 *
 * The client itself makes `not_running`, `timeout`, `unauthorized`, `config_invalid`, `invalid_field` and
 * `protocol_version`; the daemon makes all others. The codes are in docs/wire.md.
 */
export class Refused extends Error {
  override readonly name = "Refused";
  /** Stable; one of the error codes of the wire. A newer daemon may know more of them. */
  readonly code: ErrorCode;
  /** What to do. Empty if there is nothing to say. */
  readonly hint: string;
  /** The field at fault, as the daemon names it: `$.data.quantity`, over HTTP `$.quantity`. Empty if there is none. */
  readonly path: string;
  /** In how many seconds the same request may succeed; 0 if waiting does not help. */
  readonly retryAfterS: number;
  /** With `workflow_failed_validation`: everything in the workflow that ComfyUI would not take. */
  readonly mistakes: readonly MistakeInfo[];

  constructor(code: ErrorCode, message: string, details: RefusalDetails = {}) {
    super(message);
    this.code = code;
    this.hint = details.hint ?? "";
    this.path = details.path ?? "";
    this.retryAfterS = details.retryAfterS ?? 0;
    this.mistakes = details.mistakes ?? [];
  }
}

/** A refusal as the daemon sent it; undefined if this is none. */
export function readRefusal(value: unknown): Refused | undefined {
  const said = (typeof value === "object" && value !== null ? value : {}) as Said;
  if (typeof said.code !== "string") return undefined;
  return new Refused(said.code as ErrorCode, said.message ?? said.detail ?? said.code, {
    hint: said.hint,
    path: said.path,
    retryAfterS: said.retry_after_s,
    mistakes: said.mistakes,
  });
}

/** The client was closed, so nothing can be asked any more. */
export function closed(): Refused {
  return new Refused("not_running", "The client is closed.", { hint: "Make a new Client." });
}

/** An answer that no daemon of this protocol gives. */
export function unreadable(what: string): Refused {
  const hint = "Check the address, and the versions of the daemon and of this client.";
  return new Refused("protocol_version", what, { hint });
}
