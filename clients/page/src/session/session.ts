// Whose page this is: the session's key and what it may do. The key lies in this tab's storage and travels in a header
// only; the token itself is not kept. `session` is undefined until somebody has signed in.
import { computed, signal } from "@preact/signals";
import { Refused } from "comfyledger";
import { BASE } from "./base";
import { beginSession, type Begun, type Credential } from "./begin";

/** What a token may do; each includes those before it (docs/access.md). */
export const RIGHTS = ["read", "submit_configured", "submit", "operate", "admin"] as const;
export type Right = (typeof RIGHTS)[number];

export interface Session {
  key: string;
  /** The label of the token; its own batches are those of this label. */
  label: string;
  right: Right;
  /** Whether it sees the work of all labels. */
  readAll: boolean;
  expiresAtMs: number;
}

const KEPT_AS = "comfyledger.session";
/** What the daemon says of a key that is over, or whose token was revoked. */
const OVER: readonly string[] = ["unauthorized", "session_expired"];

export const session = signal<Session | undefined>(kept());
/** Whether the last session ended by itself. The view stays, and the page asks to sign in again. */
export const isExpired = signal(false);

const rank = computed(() => RIGHTS.indexOf(session.value?.right ?? "read"));

/** Whether the session has this right: buttons of others are not shown. */
export function may(needed: Right): boolean {
  return session.value !== undefined && rank.value >= RIGHTS.indexOf(needed);
}

/** Whether the session may cancel, retry and prioritize batches of this label. */
export function mayChange(label: string): boolean {
  return may("operate") || (may("submit_configured") && session.value?.label === label);
}

/** Rejects with Refused. */
export async function signIn(credential: Credential): Promise<void> {
  keep(read(await beginSession(BASE, credential)));
  isExpired.value = false;
}

export function signOut(): void {
  keep(undefined);
  isExpired.value = false;
}

/** Takes notice of a refusal of a request with this key: whether it means that the session is over. */
export function isOver(error: unknown, key: string | undefined): boolean {
  if (!(error instanceof Refused) || !OVER.includes(error.code)) return false;
  if (key !== undefined && key === session.peek()?.key) {
    isExpired.value = true;
    keep(undefined);
  }
  return true;
}

function keep(value: Session | undefined): void {
  session.value = value;
  if (value === undefined) sessionStorage.removeItem(KEPT_AS);
  else sessionStorage.setItem(KEPT_AS, JSON.stringify(value));
}

function kept(): Session | undefined {
  const text = sessionStorage.getItem(KEPT_AS);
  return text === null ? undefined : (JSON.parse(text) as Session);
}

/** A right that this page does not know counts as the smallest. */
function read({ key, label, right, read_all, expires_at_ms }: Begun): Session {
  const known = RIGHTS.find((name) => name === right) ?? "read";
  return { key, label: label ?? "", right: known, readAll: read_all ?? false, expiresAtMs: expires_at_ms };
}
