import { Refused } from "./refused.js";

/** A value, or a function that gives it. The function is called for each new connection. */
export type Given<T> = T | (() => T | Promise<T>);

/** Where the daemon answers: `http://HOST[:PORT][/PREFIX]` or the same with https, and the token; empty for none. */
export interface Address {
  origin: string;
  token: string;
}

const SCHEMES: Record<string, string> = { "http:": "http", "ws:": "http", "https:": "https", "wss:": "https" };

/** The present address. Rejects with Refused (config_invalid, unauthorized), or with what a function throws. */
export async function findAddress(url: Given<string | URL>, token: Given<string> | undefined): Promise<Address> {
  const origin = readUrl(String(typeof url === "function" ? await url() : url));
  const found = ((typeof token === "function" ? await token() : token) ?? "").trim();
  if (!/^[!-~]*$/.test(found)) {
    const hint = "Copy the token again, on one line.";
    throw new Refused("unauthorized", "The token has a space or another character that no token has.", { hint });
  }
  return { origin, token: found };
}

function readUrl(text: string): string {
  let parts: URL;
  try {
    parts = new URL(text.trim());
  } catch {
    throw noAddress("it is no URL");
  }
  const scheme = SCHEMES[parts.protocol];
  if (scheme === undefined) throw noAddress(`it begins with ${parts.protocol.slice(0, 16)}`);
  if (parts.username || parts.password) throw noAddress("it contains a user or password");
  if (parts.search || parts.hash) throw noAddress("something follows a ? or # in it");
  return `${scheme}://${parts.host}${parts.pathname.replace(/\/+$/, "").replace(/\/ws$/, "")}`;
}

/** Does not repeat what may be a password. */
function noAddress(why: string): Refused {
  const hint = "Write http://HOST:PORT or https://HOST.";
  return new Refused("config_invalid", `The url is not an address of a daemon: ${why}.`, { hint });
}

/** No daemon answers there. A browser does not say whether it was the daemon that refused the page. */
export function absent(address: Address): Refused {
  const page = typeof document === "undefined" ? "" : " A page's origin must be in [door] allowed_origins.";
  const hint = `Start it with \`comfyledger run\`, or give another url.${page}`;
  return new Refused("not_running", `No daemon answers at ${address.origin}.`, { hint });
}
