// Ask for images and follow them to their stores: node node_client.mjs REQUEST_ID USERNAME CHARACTER QUANTITY
import { Client, Refused } from "comfyledger";

const [request_id, username, character, quantity] = process.argv.slice(2);
const { COMFYLEDGER_URL: url = "http://127.0.0.1:9831", COMFYLEDGER_TOKEN: token } = process.env;
const client = new Client({ url, token, name: "my-app" });
try {
  const batch = await client.submit({ request_id, username, character, premade: true, quantity: Number(quantity) });
  console.log("numbers", ...batch.numbers);
  for await (const event of client.follow(batch.batch_id)) {
    if (event.kind === "image_uploaded") console.log("stored", event.data.url);
  }
  const end = await client.getBatch(batch.batch_id);
  process.exitCode = end.stored === end.quantity ? 0 : 1;
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.error(`${error.code}: ${error.message} ${error.hint}`);
  process.exitCode = 1;
} finally {
  client.close();
}
