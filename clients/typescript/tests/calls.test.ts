/** Requests: their answers, repeats, refusals, time limits, and how they end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { batchOf, client, door, law, openWebsockets, passingToken, refused, silentUrl, steer, until } from "./house.js";

/** `[door] subscriptions_max` of a connection. */
const SUBSCRIPTIONS_MAX = 64;

law("a repeat with the same id and body gets the same answer, another body is refused", async (made) => {
  const asked = batchOf(2);
  const batch = await made.submit(asked);
  assert.equal(batch.numbers?.length, 2);
  assert.deepEqual((await made.submit(asked)).numbers, batch.numbers);
  const conflict = await refused(made.submit({ ...asked, quantity: 3 }), "request_id_conflict");
  assert.match(conflict.hint, /request_id/);
  assert.equal((await made.wait(batch.batch_id)).stored, 2);
});

law("a request that is made while the daemon is away is done once, when it is back", async (made) => {
  await made.connect();
  const asked = batchOf(1);
  await steer("kill");
  const answers = Promise.all([made.submit(asked), made.submit(asked)]);
  await steer("begin");
  const [first, second] = await answers;
  assert.equal(first.batch_id, second.batch_id);
  assert.deepEqual(first.numbers, second.numbers);
});

law("every request that has a route is answered alike", async (made) => {
  const { batch_id } = await made.submit(batchOf(2));
  const batch = await made.wait(batch_id);
  const image = batch.images?.[0];
  assert.ok(image);
  assert.equal(batch.label, "tests");
  assert.equal((await made.getImage(image.public_id)).image_id, image.image_id);
  assert.equal((await made.getImage(image.image_id)).public_id, image.public_id);
  assert.equal((await made.request("get_recipe", { image: image.public_id })).number, image.number);
  assert.equal((await made.request("explain", { what: image.public_id })).subject, "image");
  const [newest] = (await made.request("list_batches", { username: "Areg", limit: 1 })).batches;
  assert.equal(newest?.batch_id, batch_id);
  const page = await made.request("list_images", { batch_id, limit: 1 });
  assert.equal(page.images.length, 1);
  const rest = await made.request("list_images", { batch_id, before: page.images[0]?.image_id, limit: 5 });
  assert.deepEqual([...page.images, ...rest.images].map(({ index }) => index).sort(), [1, 2]);
  assert.equal((await made.request("server_info", { fits: true })).stores?.[0]?.name, "folder");
  assert.deepEqual(Object.keys(await made.request("pause", { scope: "user:Nobody" })), ["images"]);
  assert.deepEqual(Object.keys(await made.request("resume", { scope: "user:Nobody" })), ["images"]);
  assert.equal((await made.cancel(batch_id)).images, 0);
  const reviewed = await made.review([image.image_id], { verdict: "approved", rating: 4 });
  assert.deepEqual([reviewed.changed, reviewed.images[0]?.verdict, reviewed.images[0]?.rating], [1, "approved", 4]);
  assert.equal((await made.review([image.image_id], { rating: 4 })).changed, 0);
});

law("a refusal has its code, its sentence, its hint and its place", async (made) => {
  const many = await refused(made.submit(batchOf(0)), "quantity_out_of_range");
  assert.ok(many.message && many.hint, String(many));
  const field = await refused(made.request("list_batches", { limit: 0 }), "invalid_field");
  assert.match(field.path, /limit$/);
  for (const batch of ["nothing", "no?wait=1", "no thing"]) await refused(made.getBatch(batch), "unknown_batch");
  await refused(made.request("retry", { batch_id: (await made.submit(batchOf(1))).batch_id }), "nothing_to_do");
});

law("what ComfyUI would not take is listed", async (made) => {
  const workflow = {
    "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: "no" } },
    "9": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "x" } },
  };
  const error = await refused(made.submit({ ...batchOf(1), workflow }), "workflow_failed_validation");
  assert.deepEqual([error.mistakes[0]?.node, error.mistakes[0]?.input], ["1", "color"]);
});

law("a number that JSON does not have is refused, and not sent as null", async (made) => {
  const error = await refused(made.submit({ ...batchOf(1), inputs: { steps: Number.NaN } }), "invalid_field");
  assert.match(error.message, /steps/);
});

law("a flood is answered to the last request, also above the rate", async (made, transport) => {
  const { batch_id } = await made.submit(batchOf(1));
  const length = transport === "http" ? 100 : 1_200; // over HTTP they go in turns, and so stay below the rate
  const answers = await Promise.all(Array.from({ length }, () => made.getBatch(batch_id)));
  assert.ok(answers.every((answer) => answer.batch_id === batch_id));
});

law("a wrong token is refused, and so is an address without a daemon, at once", async (_, transport) => {
  const { url, token } = await door();
  const beganMs = Date.now();
  const cases = [
    ["unauthorized", { url, token: `${token}x` }],
    ["not_running", { url: await silentUrl(), token }],
    ["config_invalid", { url: "ftp://127.0.0.1", token }],
    ["config_invalid", { url: `http://user:pass@127.0.0.1`, token }],
    ["unauthorized", { url, token: "two words" }],
  ] as const;
  for (const [code, options] of cases) {
    const made = client({ ...options, transport });
    await refused(made.connect(), code);
    if (code !== "not_running") await refused(made.getBatch("x"), code);
    made.close();
  }
  assert.ok(Date.now() - beganMs < 9_000, "it does not wait for a time limit");
});

law("a token that is revoked ends subscriptions and calls with its code", async (_, transport) => {
  const made = client({ token: await passingToken(), transport });
  try {
    await until(() => made.connect().then(() => true).catch(() => false), "the daemon knows the new token");
    const { batch_id } = await made.submit(batchOf(1));
    const events = made.subscribe({ batch_id, kinds: ["batch_settled"] });
    await events.next();
    const waits = events.next();
    await steer("revoke");
    await refused(waits, "unauthorized");
    await refused(made.getBatch(batch_id), "unauthorized");
  } finally {
    made.close();
  }
});

law("a call ends at its time limit while the daemon is away", async (_, transport) => {
  const made = client({ url: await silentUrl(), token: "x", transport });
  const beganMs = Date.now();
  await refused(made.getBatch("x", { timeoutS: 0.4 }), "not_running");
  await refused(made.follow("x", {}, { timeoutS: 0.4 }).next(), "not_running");
  await refused(made.addInput(new Uint8Array(4), { timeoutS: 0.4 }), "not_running");
  assert.ok(Date.now() - beganMs < 10_000);
  made.close();
});

law("a call ends with the reason of its signal, before and while it waits", async (made) => {
  const reason = new Error("the page was left");
  await assert.rejects(made.getBatch("x", { signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(made.subscribe({}, { signal: AbortSignal.abort(reason) }).next(), reason);
  await steer("kill");
  try {
    const stop = new AbortController();
    const calls = [
      made.submit(batchOf(1), { signal: stop.signal }),
      made.subscribe({}, { signal: stop.signal }).next(),
      made.addInput(new Uint8Array(4), { signal: stop.signal }),
    ];
    stop.abort(reason);
    for (const call of calls) await assert.rejects(call, reason);
  } finally {
    await steer("begin");
  }
});

law("leaving a loop, returning and aborting end a subscription at once and release it", async (made) => {
  const waits = made.subscribe({ after: -1 });
  const never = waits.next();
  assert.deepEqual(await waits.return(), { done: true, value: undefined });
  assert.deepEqual(await never, { done: true, value: undefined });
  for (let round = 0; round < SUBSCRIPTIONS_MAX + 4; round += 1) {
    for await (const { position } of made.subscribe({})) if (position > 0) break;
  }
  const stop = new AbortController();
  const ended = made.subscribe({ after: -1 }, { signal: stop.signal }).next();
  stop.abort(new Error("enough"));
  await assert.rejects(ended, /enough/);
});

law("a closed client holds no connection, and what waits for it is refused", async (made, transport) => {
  const before = await openWebsockets();
  await made.connect();
  const events = made.subscribe({ after: -1 });
  const waits = events.next();
  if (transport === "websocket") await until(async () => (await openWebsockets()) === before + 1, "it is connected");
  made.close();
  await refused(waits, "not_running");
  await refused(made.getBatch("x"), "not_running");
  await refused(made.subscribe({}).next(), "not_running");
  await until(async () => (await openWebsockets()) === before, "its websocket is gone");
});

test("without a WebSocket on the platform the client uses Server-Sent Events", async () => {
  const kept = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Object.defineProperty(globalThis, "WebSocket", { value: undefined, configurable: true });
  const made = client();
  try {
    const { batch_id } = await made.submit(batchOf(2));
    assert.equal((await made.wait(batch_id)).stored, 2);
  } finally {
    made.close();
    if (kept) Object.defineProperty(globalThis, "WebSocket", kept);
  }
});
