// A backend with Express: one route asks for images, another takes the daemon's webhooks.
// PORT=3000 COMFYLEDGER_TOKEN=… WEBHOOK_SECRET=whsec_… node express_app.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";
import { Client, Refused } from "comfyledger";

const { COMFYLEDGER_URL: url = "http://127.0.0.1:9831", COMFYLEDGER_TOKEN: token, PORT = "3000" } = process.env;
const secret = Buffer.from((process.env.WEBHOOK_SECRET ?? "").replace(/^whsec_/, ""), "base64");
if (secret.length === 0) throw new Error("WEBHOOK_SECRET is missing.");
const client = new Client({ url, token, name: "shop" });
const app = express();

app.post("/images", express.json(), async ({ body }, response) => {
  const { order, username, character, quantity } = body;
  try {
    // The order's own id: if the app sends the order again, it gets the same images.
    const batch = await client.submit({ request_id: order, username, character, quantity }, { timeoutS: 20 });
    response.status(202).json({ batch_id: batch.batch_id, names: batch.names });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const mayPass = error.retryAfterS > 0 || ["not_running", "timeout"].includes(error.code);
    response.status(mayPass ? 503 : 422).json({ code: error.code, message: error.message, hint: error.hint });
  }
});

/** A delivery after Standard Webhooks: signed with the secret over its id, its time and its bytes, at most 5 minutes ago. */
function isGenuine(request) {
  const [id, time, signatures] = ["id", "timestamp", "signature"].map((name) => request.get(`webhook-${name}`) ?? "");
  const isFresh = Math.abs(Date.now() / 1_000 - Number(time)) < 300;
  const wanted = createHmac("sha256", secret).update(`${id}.${time}.`).update(request.body).digest();
  const isSigned = signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
    return signature.startsWith("v1,") && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
  return isFresh && isSigned;
}

const done = new Set(); // In a real app a table: a delivery comes again until it is answered, also after a restart.

app.post("/webhooks/comfyledger", express.raw({ type: () => true, limit: "1mb" }), (request, response) => {
  if (!Buffer.isBuffer(request.body) || !isGenuine(request)) return void response.sendStatus(401);
  const id = request.get("webhook-id");
  if (!done.has(id)) {
    const { type, data } = JSON.parse(request.body);
    if (type === "image_uploaded") console.log("stored", data.event.data.name, data.event.data.url);
    if (type === "batch_settled") console.log("settled", data.event.data.batch_id);
    done.add(id);
  }
  response.sendStatus(204);
});

const server = app.listen(Number(PORT), "127.0.0.1", () => console.log("listening", server.address().port));
