/** Stand-ins of the daemon inside the test: one over HTTP, one as a `WebSocket`. They do what a real one seldom does. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const EPOCH = "01M82DA8V724WA3CWZEFZYJASQ";

/** An event of the log at this position. */
export const eventAt = (position: number) => ({ epoch: EPOCH, position, kind: "batch_resumed", at_ms: 0, stream: "b", data: {} });

/** A server that answers each request as the test says. `use` gets its address. */
export async function answering(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

interface Asked {
  type: string;
  id: number;
  data: Record<string, unknown>;
}

/**
 * Stands for the platform's WebSocket. `made` has each connection; `answer` is called for each frame but `hello`, which
 * is answered unless `isDeaf`.
 */
export class FakeSocket {
  static made: FakeSocket[] = [];
  static isDeaf = false;
  static isAbsent = false;
  static answer: (asked: Asked, socket: FakeSocket) => void = () => undefined;
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((ended: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly asked: Asked[] = [];
  #isOver = false;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.made.push(this);
    queueMicrotask(() => (FakeSocket.isAbsent ? this.drop() : this.onopen?.()));
  }

  send(frame: string): void {
    const asked = JSON.parse(frame) as Asked;
    this.asked.push(asked);
    if (asked.type !== "hello") FakeSocket.answer(asked, this);
    else if (!FakeSocket.isDeaf) this.say("result", asked.id, {});
  }

  /** Sends a frame to the client, later than what it does now. */
  say(type: string, id: number | null, data: object): void {
    queueMicrotask(() => {
      if (!this.#isOver) this.onmessage?.({ data: JSON.stringify({ type, id, data }) });
    });
  }

  /** Ends the connection from the daemon's side. */
  drop(code = 1006, reason = ""): void {
    this.#isOver = true;
    this.onclose?.({ code, reason });
  }

  close(): void {
    this.drop(1000);
  }
}

/** Has clients use the stand-in, which answers like this. */
export async function withSockets(answer: typeof FakeSocket.answer, use: () => Promise<void>): Promise<void> {
  const kept = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Object.defineProperty(globalThis, "WebSocket", { value: FakeSocket, configurable: true, writable: true });
  Object.assign(FakeSocket, { made: [], isDeaf: false, isAbsent: false, answer });
  try {
    await use();
  } finally {
    if (kept) Object.defineProperty(globalThis, "WebSocket", kept);
    else Reflect.deleteProperty(globalThis, "WebSocket");
  }
}
