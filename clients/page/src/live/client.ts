// The page's one client of the daemon. Views ask through `ask`; the rest of live/ keeps what changes in signals.
import { effect, signal } from "@preact/signals";
import { Client, type Answer, type CallOptions, type RequestData, type RequestType } from "comfyledger";
import { BASE } from "../session/base";
import { isOver, session } from "../session/session";

/** `connecting` at first; `away` while the daemon does not answer. The client goes on trying by itself. */
export const connection = signal<"connecting" | "connected" | "away">("connecting");

const NAME = "page";
/** A broken connection is often back at once; only later it is said. */
const AWAY_AFTER_MS = 700;
/** The first connection of a session may take so long before the daemon is said to be away. */
const FIRST_AFTER_MS = 3_000;

let made: { client: Client; key: string } | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

/** The client of the present session. Another session gets another client, because a connection belongs to a token. */
export function client(): Client {
  const key = session.peek()?.key ?? "";
  if (made?.key !== key) {
    made?.client.close();
    made = { key, client: new Client({ url: BASE, token: key, name: NAME, onConnection: (is) => heard(key, is) }) };
    sayAwayAfter(FIRST_AFTER_MS); // a connection that never opens does not break either
  }
  return made.client;
}

/** Any request of the wire. Rejects with Refused. If the session is over, the page also asks to sign in again. */
export async function ask<T extends RequestType>(
  type: T,
  data: RequestData<T>,
  options?: CallOptions,
): Promise<Answer<T>> {
  const key = session.peek()?.key;
  try {
    return await client().request(type, data, options);
  } catch (error) {
    isOver(error, key);
    throw error;
  }
}

/** Over HTTP, for what the websocket does not have. `path` begins with /v1. The session's key goes into a header. */
export function fetched(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${session.peek()?.key ?? ""}`);
  return fetch(`${BASE}${path}`, { ...init, headers, credentials: "omit", cache: "no-store", redirect: "error" });
}

function heard(key: string, isConnected: boolean): void {
  if (made?.key !== key) return;
  clearTimeout(timer);
  if (isConnected) connection.value = "connected";
  else sayAwayAfter(AWAY_AFTER_MS);
}

function sayAwayAfter(ms: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => (connection.value = "away"), ms);
}

// A session that has ended has no connection to lose.
effect(() => {
  if (session.value !== undefined) return;
  clearTimeout(timer);
  made?.client.close();
  made = undefined;
  connection.value = "connecting";
});
