import { onAbort } from "./aborts.js";
import type { Address } from "./address.js";
import { Connection, Unopened, type Ended } from "./connection.js";
import { Deadline, backoffMs, pause, within } from "./deadline.js";
import type { Pushed } from "./events.js";
import type { Feed } from "./feed.js";
import { toJson, type Frame } from "./frames.js";
import { Refused, closed, readRefusal } from "./refused.js";
import { WAITING_S, type Answer, type Limits, type RequestData, type RequestType, type Transport } from "./transport.js";
import type { LoggedEvent, Preview, Progress, Subscribed, SubscriptionEnded, Waiting } from "./wire.js";

/** Close code "message too big" (RFC 6455, section 7.4.1). */
const TOO_LARGE = 1009;

/** How long one try may take that opens a connection and, if it does not open, asks over HTTP why. */
const OPEN_S = 30;
/** What may pass by itself. */
const AWAY: readonly string[] = ["not_running", "timeout"];

/** A request without an answer yet. `sent`: how often it was sent. `isHeldBack`: it was rate limited. */
interface Pending {
  type: string;
  frame: string;
  feed: Feed | undefined;
  sent: number;
  isHeldBack: boolean;
  limits: Limits;
  deadline: Deadline;
  resolve: (answer: unknown) => void;
  reject: (error: unknown) => void;
}

/** What a websocket needs of its client. `probe` says over HTTP why no websocket opened; undefined if it finds none. */
export interface SocketOptions {
  find: () => Promise<Address>;
  probe: (address: Address, signal: AbortSignal) => Promise<Refused | undefined>;
  label: string;
  onWaiting: ((waiting: Waiting) => void) | undefined;
  onConnection: ((isConnected: boolean) => void) | undefined;
}

/**
 * Requests and subscriptions over one websocket. It is opened for the first call and stays open. When it breaks, it is
 * opened again as long as a call waits for an answer, and requests without an answer are sent again with the same body.
 */
export class SocketTransport implements Transport {
  readonly #options: SocketOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #feeds = new Map<string, Feed>();
  /** Subscriptions that were given up on this connection, for a while still with events on their way. */
  readonly #unwanted = new Set<string>();
  readonly #over = new AbortController();
  #connection: Connection | undefined;
  #connecting: Promise<void> | undefined;
  #trouble: Refused | undefined;
  /** What `onConnection` was told last. */
  #isSaid: boolean | undefined;
  /** How often a connection was tried since the last frame came. */
  #tries = 0;
  #numbers = 0;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  async connect(limits: Limits): Promise<void> {
    const deadline = new Deadline(limits.timeoutS, limits.signal);
    try {
      this.#check();
      if (this.#connection === undefined) this.#keep(await this.#open(deadline.signal));
    } finally {
      deadline.clear();
    }
  }

  ask<T extends RequestType>(type: T, data: RequestData<T>, limits: Limits): Promise<Answer<T>> {
    return this.#request(type, data, limits) as Promise<Answer<T>>;
  }

  async begin(feed: Feed, limits: Limits): Promise<void> {
    await this.#request("subscribe", feed.request, limits, feed);
  }

  close(): void {
    this.#over.abort(closed());
    this.#fail(closed());
    this.#connection?.close();
  }

  // ---- requests and answers

  async #request(type: string, data: object, limits: Limits, feed?: Feed): Promise<unknown> {
    this.#check();
    const number = ++this.#numbers;
    const frame = toJson({ type, id: number, data });
    const deadline = new Deadline(limits.timeoutS, limits.signal);
    try {
      return await new Promise((resolve, reject) => {
        const asked = { type, frame, feed, sent: 0, isHeldBack: false, limits, deadline, resolve, reject };
        deadline.signal.throwIfAborted();
        onAbort(deadline.signal, () => reject(this.#why(deadline)));
        this.#pending.set(number, asked);
        this.#post(asked);
      });
    } finally {
      deadline.clear();
      this.#pending.delete(number);
    }
  }

  /** Why a call ends without an answer: what keeps the daemon away, if it is away. */
  #why(deadline: Deadline): unknown {
    const isAway = deadline.isLate && this.#connection === undefined;
    return (isAway && this.#trouble) || deadline.signal.reason;
  }

  /** Sends a request now, or as soon as there is a connection. */
  #post(asked: Pending): void {
    if (this.#connection === undefined) return this.#reconnect();
    asked.sent += 1;
    asked.isHeldBack = false;
    this.#connection.send(asked.frame);
  }

  #take({ type, id, data }: Frame): void {
    this.#tries = 0;
    const asked = typeof id === "number" ? this.#pending.get(id) : undefined;
    if (type === "result") this.#takeResult(asked, data);
    else if (type === "error") this.#takeError(asked, readRefusal(data) ?? new Refused("internal", "No reason given."));
    else if (type === "waiting") this.#takeWaiting(asked, data as Waiting);
    else if (type === "subscription_ended") this.#takeEnd(data as SubscriptionEnded);
    else if (type === "event") this.#takePush(data as LoggedEvent);
    else if (type === "progress") this.#takePush({ ...(data as Progress), kind: "progress" });
    else if (type === "preview") this.#takePush({ ...(data as Preview), kind: "preview" });
  }

  /** A subscription is a feed's before its first event is read. One that nobody waits for any more is given up. */
  #takeResult(asked: Pending | undefined, data: unknown): void {
    if (asked?.feed !== undefined) {
      const { subscription, epoch, position } = data as Subscribed;
      this.#feeds.set(subscription, asked.feed);
      asked.feed.begun(epoch, position, () => this.#unsubscribe(subscription));
    }
    asked?.resolve(data);
  }

  /**
   * A rate-limited request, or one to a box that is behind, is sent again after its delay. If a repeated retry or resume
   * has nothing to do, its first copy did it. The daemon refuses a frame that is too large without reading it, so it
   * may not name the request.
   */
  #takeError(asked: Pending | undefined, refusal: Refused): void {
    if (asked === undefined) {
      if (refusal.code === "frame_too_large") this.#refuseLargest(refusal);
    } else if (refusal.code === "rate_limited" || refusal.code === "behind") {
      asked.sent -= 1; // it was not accepted
      asked.isHeldBack = true;
      setTimeout(() => this.#postAgain(asked), refusal.retryAfterS * 1_000);
    } else if (refusal.code === "nothing_to_do" && asked.sent > 1) {
      asked.resolve({ images: 0 });
    } else {
      asked.reject(refusal);
    }
  }

  /** Sends a rate-limited request again, unless it is over or a new connection has done so. */
  #postAgain(asked: Pending): void {
    if (asked.isHeldBack && [...this.#pending.values()].includes(asked)) this.#post(asked);
  }

  #takeWaiting(asked: Pending | undefined, waiting: Waiting): void {
    if (asked === undefined) return;
    const { timeoutS, isGiven } = asked.limits;
    if (!isGiven) asked.deadline.extend(Math.max(WAITING_S, timeoutS));
    const { onWaiting } = this.#options;
    if (onWaiting !== undefined) queueMicrotask(() => onWaiting(waiting)); // what it throws is the app's
  }

  #takeEnd({ subscription }: SubscriptionEnded): void {
    const feed = this.#feeds.get(subscription);
    this.#feeds.delete(subscription);
    feed?.stopped();
  }

  /** What has no reader, or one that is too slow, ends its subscription. */
  #takePush({ subscription, ...item }: Pushed & { subscription: string }): void {
    const feed = this.#feeds.get(subscription);
    if (feed?.put(item as Pushed)) return;
    this.#unsubscribe(subscription);
    feed?.stopped();
  }

  #unsubscribe(subscription: string): void {
    this.#feeds.delete(subscription);
    if (this.#connection === undefined || this.#unwanted.has(subscription)) return;
    this.#unwanted.add(subscription);
    this.#connection.send(toJson({ type: "unsubscribe", id: ++this.#numbers, data: { subscription } }));
  }

  // ---- the connection

  #check(): void {
    if (this.#over.signal.aborted) throw closed();
  }

  /** Connects, unless that is under way. */
  #reconnect(): void {
    this.#connecting ??= this.#stayConnecting().finally(() => {
      this.#connecting = undefined;
      if (this.#isWanted()) this.#reconnect(); // by a call that came in the last moment
    });
  }

  /** Whether a call waits for a connection. */
  #isWanted(): boolean {
    return this.#pending.size > 0 && this.#connection === undefined && !this.#over.signal.aborted;
  }

  /** Connects for as long as a call waits. A refusal that waiting does not mend ends all calls. */
  async #stayConnecting(): Promise<void> {
    const { signal } = this.#over;
    while (this.#isWanted()) {
      try {
        if (this.#tries > 0) await pause(backoffMs(this.#tries), signal);
        this.#tries += 1;
        this.#keep(await this.#open(signal));
      } catch (error) {
        if (!(error instanceof Refused) || !AWAY.includes(error.code)) return this.#fail(error);
        this.#trouble = error;
        this.#say(false); // the first connection of all may never open
      }
    }
  }

  /** Rejects with Refused, or with what a function of the app throws. */
  async #open(outer: AbortSignal): Promise<Connection> {
    const deadline = new Deadline(OPEN_S, outer);
    const { signal } = deadline;
    try {
      const address = await within(signal, this.#options.find());
      try {
        return await Connection.open(address, this.#options.label, signal);
      } catch (error) {
        if (!(error instanceof Unopened)) throw error;
        throw (await this.#options.probe(address, signal)) ?? this.#noWebsocket(address);
      }
    } finally {
      deadline.clear();
    }
  }

  #noWebsocket(address: Address): Refused {
    const hint =
      'Let the proxy in between pass on websockets, or give the client `transport: "http"`. If there is no proxy, the ' +
      "daemon may have too many connections.";
    return new Refused("not_running", `The daemon at ${address.origin} answers over HTTP, but opens no websocket.`, { hint });
  }

  #keep(connection: Connection): void {
    if (this.#over.signal.aborted || this.#connection !== undefined) return connection.close();
    this.#connection = connection;
    connection.onFrame = (frame) => this.#take(frame);
    connection.ended.then((ended) => this.#lost(ended));
    this.#say(true);
    for (const asked of this.#pending.values()) this.#post(asked);
  }

  /** Feeds begin again when their readers come to it; requests without an answer are sent again at once. */
  #lost({ code, reason }: Ended): void {
    this.#connection = undefined;
    this.#say(false);
    this.#unwanted.clear();
    if (code === TOO_LARGE) this.#refuseLargest(new Refused("frame_too_large", reason || "The frame is too large."));
    for (const feed of this.#feeds.values()) feed.stopped();
    this.#feeds.clear();
    for (const asked of this.#pending.values()) this.#post(asked);
  }

  #say(isConnected: boolean): void {
    const { onConnection } = this.#options;
    if (this.#isSaid === isConnected) return;
    this.#isSaid = isConnected;
    if (onConnection !== undefined) queueMicrotask(() => onConnection(isConnected)); // what it throws is the app's
  }

  /** Fails the largest request: sent again, it would be refused each time. */
  #refuseLargest(refusal: Refused): void {
    const sent = [...this.#pending.values()].filter((asked) => asked.sent > 0);
    sent.sort((one, other) => other.frame.length - one.frame.length)[0]?.reject(refusal);
  }

  #fail(error: unknown): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const asked of all) asked.reject(error);
  }
}
