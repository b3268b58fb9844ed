// Ask for images and follow them to their stores, with Node 20 and nothing else:
// node follow_a_batch.mjs REQUEST_ID USERNAME CHARACTER QUANTITY
import { readFile } from "node:fs/promises";
import http from "node:http";
import { homedir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const state = process.env.COMFYLEDGER_STATE_DIR ?? `${homedir()}/.local/state/comfyledger`;

/** One request at the daemon's Unix socket. Where that is may change with a restart, so it is read each time. */
async function request(method, path, headers = {}, body = undefined) {
  const { socket } = JSON.parse(await readFile(`${state}/door.json`, "utf8"));
  const token = (await readFile(`${state}/token`, "utf8")).trim();
  const all = { Host: "localhost", Authorization: `Bearer ${token}`, ...headers };
  return new Promise((resolve, reject) => {
    http.request({ socketPath: socket, method, path, headers: all }, resolve).on("error", reject).end(body);
  });
}

/** The answer as JSON, once there is one: a repeat of the same request is the same request. */
async function ask(method, path, headers, body) {
  for (;;) {
    try {
      const response = await request(method, path, headers, body);
      const answer = JSON.parse((await response.toArray()).join(""));
      if (response.statusCode < 400) return answer;
      if (response.statusCode !== 429 && response.statusCode !== 503) throw new Error(`${answer.detail} ${answer.hint}`);
    } catch (error) {
      if (!error.code) throw error; // no fault of the connection
    }
    await sleep(500);
  }
}

/** Server-Sent Events, from the first one on, without gap or duplicate. */
async function* events(path) {
  let lastId = "";
  for (;;) {
    try {
      const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
      const response = await request("GET", path, headers);
      let text = "";
      for await (const piece of response.setEncoding("utf8")) {
        const blocks = (text + piece).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
          lastId = fields.id ?? lastId;
          if (fields.data) yield { kind: fields.event, ...JSON.parse(fields.data) };
        }
      }
    } catch (error) {
      if (!error.code) throw error;
    }
    await sleep(500);
  }
}

const [requestId, username, character, quantity] = process.argv.slice(2);
const headers = { "Content-Type": "application/json", "Idempotency-Key": requestId, "Comfyledger-Client": "my-app" };
const body = JSON.stringify({ username, character, premade: true, quantity: Number(quantity) });
const batch = await ask("POST", "/v1/batches", headers, body);
console.log("numbers", ...batch.numbers);
for await (const event of events(`/v1/events?batch_id=${batch.batch_id}`)) {
  if (event.kind === "image_uploaded") console.log("stored", event.data.url);
  if (event.kind === "batch_settled") break;
}
const end = await ask("GET", `/v1/batches/${batch.batch_id}`);
process.exit(end.stored === end.quantity ? 0 : 1);
