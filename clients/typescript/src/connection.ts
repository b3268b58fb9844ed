import type { Address } from "./address.js";
import { within } from "./deadline.js";
import { readFrame, toJson, type Frame } from "./frames.js";
import { Refused, readRefusal } from "./refused.js";

const CONNECT_MS = 10_000;
const HELLO_MS = 10_000;
/** After so long without a frame the daemon is asked for one. A broken network says nothing by itself. */
const SILENCE_MS = 30_000;
const ANSWER_MS = 15_000;
/** What `hello` is asked with: the id of the first one, and of those that ask whether the daemon is still there. */
const HELLO_ID = 0;
/** Close code "normal closure" (RFC 6455, section 7.4.1). */
const NORMAL = 1000;
/** Stands for an end without a close code (RFC 6455, section 7.4.1). */
const ABNORMAL = 1006;

/** Why a connection ended: the close code of the daemon, 1006 if it said none. */
export interface Ended {
  code: number;
  reason: string;
}

/** The websocket did not open, or the daemon did not answer `hello`. It does not say why. */
export class Unopened extends Error {}

/**
 * One websocket over which the daemon has answered `hello`.
 *
 * A browser cannot set headers on a websocket, so the token goes as a subprotocol (docs/wire.md, Connecting). Other
 * platforms do the same, because the WebSocket that they share takes no headers.
 */
export class Connection {
  readonly #socket: WebSocket;
  readonly #greeting: string;
  #heardMs = 0;
  #watch: ReturnType<typeof setInterval> | undefined;
  #finish!: (ended: Ended) => void;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly ended: Promise<Ended>;
  /** Gets each frame after the answer to `hello`. Set it before the next task. */
  onFrame: (frame: Frame) => void = () => undefined;

  private constructor(address: Address, label: string) {
    const protocols = address.token ? ["comfyledger", `token.${address.token}`] : ["comfyledger"];
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#greeting = toJson({ type: "hello", id: HELLO_ID, data: { client: label } });
    this.#socket = new WebSocket(`ws${address.origin.slice("http".length)}/ws`, protocols);
    this.#socket.onclose = ({ code, reason }) => this.#end({ code, reason });
    // The WebSocket of Node 20 says of a connection that failed only this. Others say `close` in the same moment.
    this.#socket.onerror = () => setTimeout(() => this.#end({ code: ABNORMAL, reason: "" }));
  }

  /** Rejects with Unopened, with Refused if the daemon refused `hello`, and with the signal's reason. */
  static async open(address: Address, label: string, signal: AbortSignal): Promise<Connection> {
    let made: Connection;
    try {
      made = new Connection(address, label);
    } catch (error) {
      throw new Refused("config_invalid", `No websocket can be opened at ${address.origin}: ${String(error)}.`, {
        hint: "A page that came over https needs a daemon behind https. The token must fit a subprotocol.",
      });
    }
    try {
      await made.#greet(signal);
    } catch (error) {
      made.close();
      throw error;
    }
    return made;
  }

  send(frame: string): void {
    this.#socket.send(frame);
  }

  close(): void {
    this.#socket.onmessage = null;
    this.#socket.close(NORMAL);
    this.#end({ code: NORMAL, reason: "" }); // the closing handshake may take minutes on a broken network
  }

  async #greet(signal: AbortSignal): Promise<void> {
    const opened = new Promise<void>((resolve) => (this.#socket.onopen = () => resolve()));
    await this.#soon(opened, CONNECT_MS, signal);
    const greeted = new Promise<void>((resolve, reject) => {
      this.#socket.onmessage = (message) => {
        try {
          const frame = readFrame(message.data);
          this.#socket.onmessage = (next) => this.#hear(next.data);
          if (frame.type !== "error") resolve();
          else reject(readRefusal(frame.data) ?? new Unopened());
        } catch (error) {
          reject(error as Error);
        }
      };
    });
    this.#socket.send(this.#greeting);
    await this.#soon(greeted, HELLO_MS, signal);
    this.#heardMs = Date.now();
    this.#watch = setInterval(() => this.#look(), ANSWER_MS);
  }

  /** Rejects with Unopened when the connection ends or the time is over before the promise resolves. */
  async #soon(promise: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Unopened()), ms)));
    const lost = this.ended.then(() => Promise.reject(new Unopened()));
    try {
      await within(signal, Promise.race([promise, late, lost]));
    } finally {
      clearTimeout(timer);
    }
  }

  #hear(data: unknown): void {
    this.#heardMs = Date.now();
    let frame: Frame;
    try {
      frame = readFrame(data);
    } catch {
      this.close(); // as if the network had broken: what is asked again may be answered
      return;
    }
    if (frame.id !== HELLO_ID) this.onFrame(frame);
  }

  /** Asks a silent daemon for a sign of life, and gives it up if none comes. */
  #look(): void {
    const silentMs = Date.now() - this.#heardMs;
    if (silentMs >= SILENCE_MS + ANSWER_MS) this.close();
    else if (silentMs >= SILENCE_MS - ANSWER_MS / 2) this.#socket.send(this.#greeting);
  }

  #end(ended: Ended): void {
    clearInterval(this.#watch);
    this.#finish(ended);
  }
}
