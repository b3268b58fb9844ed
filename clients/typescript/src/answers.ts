import { absent, type Address } from "./address.js";
import { Refused, readRefusal, unreadable } from "./refused.js";

/** Statuses that a proxy gives when the daemon behind it is away (RFC 9110, 15.6). */
const AWAY: readonly number[] = [502, 503, 504];

/** The answer to a request over HTTP, as JSON. Rejects with Refused, or as `fetch` does if the connection breaks. */
export async function readAnswer(address: Address, response: Response): Promise<unknown> {
  const text = await response.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // not the daemon's
  }
  if (response.ok && value !== undefined) return value;
  throw (response.ok ? undefined : readRefusal(value)) ?? strange(address, response.status);
}

function strange(address: Address, status: number): Refused {
  if (AWAY.includes(status)) return absent(address);
  return unreadable(`${address.origin} answered ${status}, and not as a daemon of this version does.`);
}
