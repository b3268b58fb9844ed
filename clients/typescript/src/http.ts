import { onAbort } from "./aborts.js";
import { absent, type Address } from "./address.js";
import { readAnswer } from "./answers.js";
import { readBlocks, type Block } from "./blocks.js";
import { Deadline, backoffMs, pause, within } from "./deadline.js";
import type { LedgerEvent, PreviewPush, ProgressPush } from "./events.js";
import type { Feed } from "./feed.js";
import { placed, queryOf } from "./placing.js";
import { Refused, closed } from "./refused.js";
import { EVENTS, INPUTS, ROUTES } from "./routes.js";
import { WAITING_S, type Answer, type Limits, type RequestData, type RequestType } from "./transport.js";
import type { Transport, Upload } from "./transport.js";
import { Turns } from "./turns.js";
import type { InputInfo } from "./wire.js";

/** A file may take this long and one second for each 8 KiB, which is what the daemon demands (docs/http.md). */
const UPLOAD_S = 600;
const UPLOAD_BYTES_PER_S = 8_192;
const NAME_CHARS_MAX = 255;
/** Requests whose answer may wait for a store or for ComfyUI. Over HTTP nothing says so meanwhile. */
const WAITING: readonly string[] = ["submit_batch", "open_series"];

/** Requests and files that are under way at once. A browser does not send more to one host either. */
const REQUESTS_MAX = 6;
const UPLOADS_MAX = 2;
/** The token goes to the given address only, and nothing that a browser adds by itself goes there. */
const PLAIN = { redirect: "error", cache: "no-store", credentials: "omit" } as const;

interface Request {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: RequestInit["body"];
}

/** One try of a call. */
interface Try {
  address: Address;
  signal: AbortSignal;
}

/** Whether the same request may succeed in a moment. */
type Passing = (refusal: Refused) => boolean;

/** Asks for as little as possible. */
const LITTLE: Request = { method: "GET", path: `${EVENTS}?limit=1` };

/** What HTTP needs of its client. */
export interface HttpOptions {
  find: () => Promise<Address>;
  label: string;
}

/** Requests and files over `fetch`, and subscriptions as Server-Sent Events over `fetch`. */
export class HttpTransport implements Transport {
  readonly #options: HttpOptions;
  readonly #over = new AbortController();
  readonly #requests = new Turns(REQUESTS_MAX);
  readonly #uploads = new Turns(UPLOADS_MAX);

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  async connect(limits: Limits): Promise<void> {
    const never: Passing = () => false;
    await this.#repeat(limits, (now) => this.#fetched(now, LITTLE), never);
  }

  /** Why the daemon refuses this client, if it does. */
  async probe(address: Address, signal: AbortSignal): Promise<Refused | undefined> {
    try {
      await this.#fetched({ address, signal }, LITTLE);
      return undefined;
    } catch (error) {
      return whyNot(address, error);
    }
  }

  async ask<T extends RequestType>(type: T, data: RequestData<T>, limits: Limits): Promise<Answer<T>> {
    const { method, path, body } = placed(ROUTES[type], data);
    const headers: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
    let sent = 0;
    const send = (now: Try): Promise<unknown> =>
      this.#requests.run(now.signal, () => {
        sent += 1;
        return this.#fetched(now, { method, path, headers, body });
      });
    const waits = WAITING.includes(type) && !limits.isGiven;
    try {
      return (await this.#repeat(limits, send, mayPass, waits ? WAITING_S : 0)) as Answer<T>;
    } catch (error) {
      // If a repeated retry or resume has nothing to do, its first copy did it.
      if (sent > 1 && error instanceof Refused && error.code === "nothing_to_do") return { images: 0 } as Answer<T>;
      throw error;
    }
  }

  async upload({ body, sizeBytes, name }: Upload, limits: Limits): Promise<InputInfo> {
    const path = `${INPUTS}${queryOf(name ? { name: name.slice(-NAME_CHARS_MAX) } : {})}`;
    const headers = { "Content-Type": "application/octet-stream" };
    const send = (now: Try): Promise<unknown> =>
      this.#uploads.run(now.signal, () => this.#fetched(now, { method: "PUT", path, headers, body }));
    const patienceS = limits.isGiven ? 0 : UPLOAD_S + sizeBytes / UPLOAD_BYTES_PER_S;
    return (await this.#repeat(limits, send, mayPass, patienceS)) as InputInfo;
  }

  async begin(feed: Feed, limits: Limits): Promise<void> {
    const path = `${EVENTS}${queryOf(feed.request)}`;
    const request = { method: "GET", path, headers: { Accept: "text/event-stream" } };
    const stop = new AbortController();
    const open = async ({ address, signal }: Try): Promise<Response> => {
      const unlink = onAbort(signal, () => stop.abort(signal.reason));
      try {
        const response = await this.#send(address, request, stop.signal);
        if (!response.ok || response.body === null) await readAnswer(address, response);
        return response;
      } finally {
        unlink();
      }
    };
    const response = await this.#repeat(limits, open, mayPass);
    feed.isLive = true;
    feed.release = () => stop.abort(closed());
    const unlink = onAbort(this.#over.signal, feed.release);
    void pump(response.body as ReadableStream<Uint8Array>, feed, stop).finally(unlink);
  }

  close(): void {
    this.#over.abort(closed());
  }

  // ---- one request, and its repeats

  async #fetched({ address, signal }: Try, request: Request): Promise<unknown> {
    return readAnswer(address, await this.#send(address, request, signal));
  }

  #send(address: Address, { method, path, headers, body }: Request, signal: AbortSignal): Promise<Response> {
    const own: Record<string, string> = { "Comfyledger-Client": asHeader(this.#options.label) };
    if (address.token) own["Authorization"] = `Bearer ${address.token}`;
    const all = { ...own, ...headers };
    return fetch(`${address.origin}${path}`, { method, headers: all, body, signal, ...PLAIN });
  }

  /**
   * Sends until there is an answer, or a refusal that is not `passing`. While the daemon is away, the time is over after
   * `limits.timeoutS`; while it has the request, after `patienceS` seconds, if that is later.
   */
  async #repeat<T>(limits: Limits, send: (now: Try) => Promise<T>, isPassing: Passing, patienceS = 0): Promise<T> {
    const deadline = new Deadline(Math.max(limits.timeoutS, patienceS), limits.signal);
    const { signal } = deadline;
    const unlink = onAbort(this.#over.signal, () => deadline.stop(closed()));
    const endsAtMs = Date.now() + limits.timeoutS * 1_000;
    let trouble: Refused | undefined;
    try {
      for (let tries = 1; ; tries += 1) {
        signal.throwIfAborted();
        const address = await within(signal, Promise.resolve(this.#options.find()));
        try {
          return await send({ address, signal });
        } catch (error) {
          signal.throwIfAborted();
          trouble = whyNot(address, error);
        }
        if (!isPassing(trouble) || Date.now() >= endsAtMs) throw trouble;
        const waitMs = DELAYED.has(trouble.code) ? trouble.retryAfterS * 1_000 : backoffMs(tries);
        await pause(Math.min(waitMs, endsAtMs - Date.now()), signal);
      }
    } catch (error) {
      throw (deadline.isLate && trouble) || error;
    } finally {
      deadline.clear();
      unlink();
    }
  }
}

const DELAYED: ReadonlySet<string> = new Set(["rate_limited", "behind"]);

function mayPass(refusal: Refused): boolean {
  return refusal.code === "not_running" || DELAYED.has(refusal.code);
}

/** The daemon's refusal, or that it is away: `fetch` does not say why a connection broke. */
function whyNot(address: Address, error: unknown): Refused {
  return error instanceof Refused ? error : absent(address);
}

/** Puts a stream into its feed until it ends or breaks, or the feed has no room. The reader then begins it again. */
async function pump(body: ReadableStream<Uint8Array>, feed: Feed, stop: AbortController): Promise<void> {
  try {
    for await (const block of readBlocks(body, stop.signal)) if (!take(block, feed)) break;
  } catch {
    // the log has what did not come
  } finally {
    stop.abort(closed());
    feed.stopped();
  }
}

/** The first block has an id and no event: where the stream begins. */
function take({ id, event, data }: Block, feed: Feed): boolean {
  if (data) {
    const item = JSON.parse(data) as object;
    if (event === "progress") return feed.put({ ...(item as ProgressPush), kind: "progress" });
    if (event === "preview") return feed.put({ ...(item as PreviewPush), kind: "preview" });
    return feed.put(item as LedgerEvent);
  }
  const [epoch, position] = id?.split(":") ?? [];
  if (epoch && position) feed.begun(epoch, Number(position), feed.release);
  return true;
}

/** A text as the bytes of a header: UTF-8, as the daemon reads it. */
function asHeader(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
