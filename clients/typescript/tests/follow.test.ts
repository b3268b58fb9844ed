/** Following the log over killed daemons, and from where an earlier run of an app stopped. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Client, LedgerEvent } from "comfyledger";
import { batchOf, client, law, refused, steer } from "./house.js";

/** More events than a client keeps for a reader. */
const EVENTS_WAITING_MAX = 1_000;

/** The positions of all events of a batch, or of the whole log, page by page. */
async function logOf(made: Client, batch_id: string | null = null): Promise<number[]> {
  const positions: number[] = [];
  for (let after = 0, epoch: string | undefined; ; ) {
    const page = await made.request("read_log", { ...(batch_id ? { batch_id } : {}), after, ...(epoch ? { epoch } : {}) });
    positions.push(...page.events.map(({ position }) => position));
    if (!page.more) return positions;
    ({ position: after, epoch } = page);
  }
}

law("a batch is followed over killed daemons without gap or duplicate", async (made) => {
  const batch = await made.submit(batchOf(24));
  const seen: LedgerEvent[] = [];
  let kills = 0;
  for await (const event of made.follow(batch.batch_id)) {
    seen.push(event);
    const stored = seen.filter(({ kind }) => kind === "image_uploaded").length;
    if (stored >= 3 + 7 * kills && kills < 2) {
      kills += 1;
      await steer("restart");
    }
  }
  assert.equal(kills, 2);
  assert.equal(seen.at(-1)?.kind, "batch_settled");
  assert.deepEqual(
    seen.map(({ position }) => position),
    await logOf(made, batch.batch_id),
  );
  const images = seen.flatMap((event) => (event.kind === "image_uploaded" ? [event.data.image] : []));
  assert.deepEqual(
    images.sort((one, other) => one - other),
    Array.from({ length: 24 }, (_, index) => index + 1),
  );
  assert.equal((await made.getBatch(batch.batch_id)).stored, 24);
});

law("another client continues after the position and epoch of the last event", async (made, transport) => {
  const { batch_id } = await made.submit(batchOf(3));
  await made.wait(batch_id);
  const seen: LedgerEvent[] = [];
  for await (const event of made.subscribe({ batch_id })) if (seen.push(event) === 5) break;
  const last = seen[4] as LedgerEvent;
  await steer("restart");
  const next = client({ transport });
  try {
    for await (const event of next.follow(batch_id, { after: last.position, epoch: last.epoch })) seen.push(event);
  } finally {
    next.close();
  }
  assert.deepEqual(
    seen.map(({ position }) => position),
    await logOf(made, batch_id),
  );
});

law("only the kinds that were asked for come, and new ones from now on", async (made) => {
  const events = made.subscribe({ after: -1, kinds: ["image_uploaded", "batch_settled"] });
  const first = events.next();
  const before = await made.submit(batchOf(1)); // the subscription may begin after the first events of this one
  await made.wait(before.batch_id);
  const { batch_id } = await made.submit(batchOf(2));
  const kinds: string[] = [(await first).value?.kind ?? "none"];
  for await (const { kind, stream } of events) {
    if (stream === batch_id) kinds.push(kind);
    if (stream === batch_id && kind === "batch_settled") break;
  }
  assert.deepEqual(kinds.slice(-3), ["image_uploaded", "image_uploaded", "batch_settled"]);
});

law("a restored ledger is told to a subscription that runs, and to one that continues", async (made, transport) => {
  const { batch_id } = await made.submit(batchOf(1));
  await made.wait(batch_id);
  await steer("backup");
  const events = made.subscribe({ batch_id });
  const first = (await events.next()).value as LedgerEvent;
  for (let kind = ""; kind !== "batch_settled"; ) kind = (await events.next()).value?.kind ?? "";
  const waits = events.next();
  await steer("restore");
  await refused(waits, "epoch_changed");
  assert.equal((await events.next()).done, true);
  const { position: after, epoch } = first;
  await refused(made.subscribe({ after, epoch }).next(), "epoch_changed");
  const other = client({ transport });
  try {
    await refused(other.follow(batch_id, { after, epoch }).next(), "epoch_changed");
    const again = (await other.follow(batch_id).next()).value as LedgerEvent;
    assert.equal(again.kind, "batch_requested");
    assert.notEqual(again.epoch, epoch);
  } finally {
    other.close();
  }
});

law("a slow reader gets every event, and others are answered meanwhile", async (made) => {
  const { batch_id } = await made.submit({ ...batchOf(150), images_per_prompt: 50 });
  await made.wait(batch_id);
  const all = await logOf(made);
  assert.ok(all.length > EVENTS_WAITING_MAX, `${all.length} events`);
  const events = made.subscribe({});
  const seen = [(await events.next()).value?.position];
  for (let round = 0; round < 50; round += 1) await made.request("server_info", {});
  while (seen.length < all.length) seen.push((await events.next()).value?.position);
  await events.return();
  assert.deepEqual(seen, all);
});

law("progress and previews come between the events, and are told apart by their kind", async (made) => {
  const graph = new URL("../../../daemon/comfyledger/workflows/text-to-image.json", import.meta.url);
  const workflow = JSON.parse(await readFile(graph, "utf8")) as Record<string, unknown>;
  const items = made.subscribe({ after: -1, previews: true });
  const first = items.next();
  await made.request("server_info", {}); // the subscription is older than its answer
  const { batch_id } = await made.submit({ ...batchOf(4), workflow });
  const kinds = new Set([(await first).value?.kind]);
  for await (const item of items) {
    kinds.add(item.kind);
    if (item.kind === "progress") assert.ok(item.batch_id === batch_id && item.value <= item.max);
    if (item.kind === "preview") assert.deepEqual([...atob(item.data)].slice(0, 2).join(""), "\xff\xd8", item.mime);
    if (item.kind === "batch_settled") break;
  }
  for (const kind of ["progress", "preview", "image_uploaded"] as const) assert.ok(kinds.has(kind), kind);
});

law("a batch that does not exist is refused before the first event", async (made) => {
  await refused(made.follow("01M82DA9EJBQZAAZJR4D2RM95D").next(), "unknown_batch");
  await refused(made.wait("01M82DA9EJBQZAAZJR4D2RM95D"), "unknown_batch");
});
