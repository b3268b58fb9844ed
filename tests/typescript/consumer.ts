// What an app in TypeScript does with the package. Where a line is wrong on purpose, the compiler must say so.
import { Client, Refused, type LedgerEvent, type SubmitBatch } from "comfyledger";

const client = new Client({ url: "http://127.0.0.1:9831", token: () => "token" });
const batch: SubmitBatch = { request_id: "order-1", username: "Areg", character: "Opal Fever", quantity: 2 };

export async function follow(signal: AbortSignal): Promise<string[]> {
  const { batch_id } = await client.submit(batch, { signal, timeoutS: 10 });
  const urls: string[] = [];
  for await (const event of client.follow(batch_id)) {
    if (event.kind === "image_uploaded") urls.push(event.data.url);
    // @ts-expect-error: an event of this kind has no `url`
    if (event.kind === "batch_settled") urls.push(event.data.url);
    // @ts-expect-error: progress comes only if it is asked for
    if (event.kind === "progress") urls.push(event.node);
  }
  for await (const item of client.follow(batch_id, { progress: true })) {
    if (item.kind === "progress") urls.push(`${item.value} of ${item.max}`);
  }
  for await (const event of client.subscribe({ kinds: ["image_failed", "image_parked"], after: -1 })) {
    const code: string = event.data.code; // both kinds have one
    urls.push(code);
  }
  return urls;
}

export async function requests(): Promise<void> {
  const { images } = await client.request("retry", { batch_id: "x", images: [1] });
  images.toFixed();
  // @ts-expect-error: there is no such request
  await client.request("retyr", { batch_id: "x" });
  // @ts-expect-error: the field is `batch_id`
  await client.request("retry", { batchId: "x" });
  // @ts-expect-error: an app does not say hello
  await client.request("hello", {});
  // @ts-expect-error: there is no such kind
  client.subscribe({ kinds: ["image_uplaoded"] });
  await client.addInput(new Blob(["x"]), { name: "notes.txt" });
  await client.addInput(new Uint8Array(3));
}

export function told(error: unknown, event: LedgerEvent<"lane_paused">): string {
  if (!(error instanceof Refused)) return event.data.lane;
  // @ts-expect-error: there is no such code
  if (error.code === "forbiden") return "";
  return `${error.code}: ${error.message} ${error.hint} ${error.retryAfterS} ${error.mistakes[0]?.node ?? ""}`;
}
