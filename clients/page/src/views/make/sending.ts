// The request that is on its way. It is kept in the tab's storage with its id until an answer came, so that neither a
// reload nor a broken connection makes anything twice: the same id with the same body gets the same answer.
import { effect, signal } from "@preact/signals";
import { Refused, type BatchAccepted, type RequestData } from "comfyledger";
import { ask, connection } from "../../live";
import { session } from "../../session/session";
import { make as texts } from "../../texts";
import { tell } from "../../ui/messages";
import { newRequestId } from "../../live/request_id";
import type { Body } from "./form";

type Request = RequestData<"submit_batch">;

/** A batch that this tab has asked for. */
export interface Made {
  accepted: BatchAccepted;
  username: string;
  character: string;
}

interface Kept {
  /** Whose request ids these are. */
  label: string;
  request: Request;
}

const KEPT_AS = "comfyledger.make.sending";
const MADE_MAX = 5;
/** After these nobody knows whether the daemon has taken it, or it may take it later: the id must stay the same. */
const OPEN: readonly string[] = ["not_running", "timeout", "internal", "busy", "rate_limited", "unauthorized", "session_expired"];

/** The request without an answer. */
export const sending = signal<Kept | undefined>(kept());
/** Why it has no answer yet; undefined while it is under way. */
export const silence = signal<unknown>(undefined);
/** Why the last request was refused; nothing was made. */
export const refusal = signal<Refused | undefined>(undefined);
/** Newest first. */
export const made = signal<readonly Made[]>([]);

let isUnderWay = false;

/** Sends a request under a new id. Does nothing while another one has no answer. */
export function submit(body: Body): void {
  if (sending.peek() !== undefined) return;
  refusal.value = undefined;
  keep({ label: session.peek()?.label ?? "", request: { ...body, request_id: newRequestId() } });
  void sendAgain();
}

/** Sends what has no answer yet, under its id. */
export async function sendAgain(): Promise<void> {
  const current = sending.peek();
  if (current === undefined || isUnderWay) return;
  isUnderWay = true;
  silence.value = undefined;
  try {
    take(current.request, await ask("submit_batch", current.request));
  } catch (error) {
    miss(error);
  } finally {
    isUnderWay = false;
  }
}

/** Gives up asking. The daemon may have made it. */
export function forget(): void {
  keep(undefined);
  silence.value = undefined;
}

function take(request: Request, accepted: BatchAccepted): void {
  keep(undefined);
  const { username = "", character = "" } = request;
  made.value = [{ accepted, username: username ?? "", character: character ?? "" }, ...made.peek()].slice(0, MADE_MAX);
  tell(texts.done.told(accepted.quantity));
}

function miss(error: unknown): void {
  if (!(error instanceof Refused) || OPEN.includes(error.code)) {
    silence.value = error;
    return;
  }
  keep(undefined);
  refusal.value = error;
}

function keep(value: Kept | undefined): void {
  sending.value = value;
  if (value === undefined) sessionStorage.removeItem(KEPT_AS);
  else sessionStorage.setItem(KEPT_AS, JSON.stringify(value));
}

function kept(): Kept | undefined {
  const text = sessionStorage.getItem(KEPT_AS);
  return text === null ? undefined : (JSON.parse(text) as Kept);
}

// What a reload has left behind, or what broke off, is sent again once the daemon is there. Ids belong to a label, so
// another label cannot ask for the answer.
effect(() => {
  const label = session.value?.label;
  if (label !== undefined && sending.peek() !== undefined && sending.peek()?.label !== label) forget();
  if (label !== undefined && connection.value === "connected") void sendAgain();
});
