/** What the tests share: a real daemon that they steer over HTTP (tests/typescript/steering.py), and clients of it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { Client, Refused, type ClientOptions } from "comfyledger";

const STEERING = process.env["STEERING"] ?? "";
const TRANSPORTS = (process.env["TRANSPORTS"] ?? "").split(",") as NonNullable<ClientOptions["transport"]>[];
/** How long a test waits for something, in milliseconds. */
export const DEADLINE_MS = 40_000;

interface Door {
  url: string;
  token: string;
}

/** Has the driver do something with the daemon: kill it, begin it, restore its ledger. */
export async function steer(step: "kill" | "begin" | "restart" | "backup" | "restore" | "revoke"): Promise<void> {
  const answer = await fetch(`${STEERING}/${step}`, { method: "POST" });
  assert.ok(answer.ok, `${step}: ${await answer.text()}`);
}

/** A token that `revoke` revokes. */
export async function passingToken(): Promise<string> {
  const answer = await fetch(`${STEERING}/token`, { method: "POST" });
  return ((await answer.json()) as { token: string }).token;
}

export async function door(): Promise<Door> {
  return (await (await fetch(`${STEERING}/door`)).json()) as Door;
}

/** A daemon that was started again listens at another port, so the client asks for each connection where it is. */
export function client(options: Partial<ClientOptions> = {}): Client {
  return new Client({
    url: async () => (await door()).url,
    token: async () => (await door()).token,
    name: "tests",
    timeoutS: 30,
    ...options,
  });
}

/** A law that holds over each transport. The client is closed at the end. */
export function law(name: string, check: (made: Client, transport: "websocket" | "http") => Promise<void>): void {
  for (const transport of TRANSPORTS) {
    test(`${name} (${transport})`, { timeout: 2 * DEADLINE_MS }, async () => {
      const made = client({ transport });
      try {
        await check(made, transport);
      } finally {
        made.close();
      }
    });
  }
}

let made = 0;
/** A request of so many images that nobody has asked for before. */
export function batchOf(quantity: number) {
  made += 1;
  const request_id = `${process.pid}-${Date.now()}-${made}`;
  return { request_id, username: "Areg", character: "Opal Fever", premade: true, quantity };
}

/** An address at which nobody listens. */
export async function silentUrl(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}

/** Holds if the promise is rejected with a refusal of this code. */
export async function refused(promise: Promise<unknown>, code: string): Promise<Refused> {
  const error = await promise.then(
    () => assert.fail(`it was not refused as ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Refused, String(error));
  assert.equal(error.code, code);
  return error;
}

/** Polls until the condition holds. */
export async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const endsAt = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < endsAt, `in time: ${what}`);
    await sleep(20);
  }
}

/** How many websockets the daemon has open. */
export async function openWebsockets(): Promise<number> {
  const { url, token } = await door();
  const metrics = await (await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).text();
  return Number(/^comfyledger_door_connections (\S+)$/m.exec(metrics)?.[1]);
}
