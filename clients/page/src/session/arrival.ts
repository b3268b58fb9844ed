// What happens before anybody can type: a one-time code in the address signs in, and where the daemon requires no token
// nothing is needed.
import { signal } from "@preact/signals";
import { Refused } from "comfyledger";
import { go } from "../route";
import { session, signIn } from "./session";

export interface Arrival {
  isPending: boolean;
  /** Why nobody is signed in yet; undefined if a token is all that is missing. */
  problem?: unknown;
}

export const arrival = signal<Arrival>({ isPending: true });

const CODE = /^#code=([\w-]+)$/;

/** Reads the address once, at the start. The code leaves the address and the history before it is used. */
export async function arrive(): Promise<void> {
  const code = CODE.exec(location.hash)?.[1];
  if (code !== undefined) go("#/now", { replace: true });
  const isSignedIn = code === undefined && session.peek() !== undefined;
  arrival.value = { isPending: false, problem: isSignedIn ? undefined : await refusal(code) };
}

async function refusal(code: string | undefined): Promise<unknown> {
  try {
    await signIn(code === undefined ? "none" : { code });
    return undefined;
  } catch (error) {
    const isToken = code === undefined && error instanceof Refused && error.code === "unauthorized";
    return isToken ? undefined : error;
  }
}
