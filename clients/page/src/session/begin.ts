// The one request that the page makes without a session: it turns a token or a one-time code into a session's key.
import { Refused } from "comfyledger";
import { BASE_PATH } from "./base";
import { signIn as texts } from "../texts";

/** A token, or the code behind # in an address of `comfyledger open`. Neither, if the daemon requires no token. */
export type Credential = { token: string } | { code: string } | "none";

/** What answers `POST /v1/sessions`. */
export interface Begun {
  key: string;
  label?: string;
  right?: string;
  read_all?: boolean;
  expires_at_ms: number;
}

interface Refusal {
  code?: Refused["code"];
  detail?: string;
  hint?: string;
}

const TIMEOUT_MS = 15_000;

/** Rejects with Refused. */
export async function beginSession(base: string, credential: Credential): Promise<Begun> {
  const code = credential !== "none" && "code" in credential ? { code: credential.code } : {};
  const headers = new Headers({ "Content-Type": "application/json" });
  if (credential !== "none" && "token" in credential) headers.set("Authorization", `Bearer ${credential.token}`);
  const response = await fetch(`${base}/v1/sessions`, {
    method: "POST",
    headers,
    body: JSON.stringify({ ...code, ...(BASE_PATH ? { base_path: BASE_PATH } : {}) }),
    credentials: "omit",
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => undefined);
  if (response === undefined) throw new Refused("not_running", texts.away, { hint: texts.awayHint });
  const answer: unknown = await response.json().catch(() => ({}));
  if (response.ok) return answer as Begun;
  const { code: refused = "internal", detail = texts.strange(response.status), hint } = answer as Refusal;
  throw new Refused(refused, detail, { hint });
}
