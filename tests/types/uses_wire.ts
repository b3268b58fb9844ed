// What an app in TypeScript does with the types of the websocket. Where a line is wrong on purpose, the compiler must say so.
import type { ClientFrame, ErrorCode, Results, ServerFrame, SubmitBatch } from "./generated/wire";

type Requests = { [F in ClientFrame as F["type"]]: F["data"] };

export function request<T extends ClientFrame["type"]>(type: T, id: number, data: Requests[T]): string {
  return JSON.stringify({ type, id, data });
}

export const batch: SubmitBatch = {
  request_id: "order-1001",
  username: "Areg",
  character: "Opal Fever",
  premade: true,
  images: [{ seed: 7, inputs: { steps: 30, prompt: "a red coat", tiled: false } }],
  inputs: { "5.image": { input: "sha256:478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15" } },
  inputs_each: { pose: [{ image: "Areg_opal-fever_image_1" }, { image: { request_id: "order-1000", index: 2 } }] },
  priority: "high",
};
request("submit_batch", 1, batch);
// @ts-expect-error: an image is given by its number or by its request
export const half: SubmitBatch = { ...batch, inputs: { pose: { image: { username: "Areg", index: 2 } } } };
request("server_info", 2, {});
// @ts-expect-error: the field is `request_id`
request("submit_batch", 3, { requestId: "order-1001", username: "Areg", character: "Opal Fever" });
// @ts-expect-error: `request_id` is missing
request("submit_batch", 4, { username: "Areg", character: "Opal Fever" });
// @ts-expect-error: there is no such message
request("submit_bacth", 5, batch);
// @ts-expect-error: a priority is one of three words
export const urgent: SubmitBatch = { ...batch, priority: "urgent" };

export function names(result: Results["submit_batch"]): string[] {
  // @ts-expect-error: the field is `public_id`
  result.images?.map((image) => image.publicId);
  return result.images?.map((image) => image.public_id) ?? [];
}

export function told(frame: ServerFrame): string {
  switch (frame.type) {
    case "result":
      return "done";
    case "error": {
      const code: ErrorCode = frame.data.code;
      // @ts-expect-error: there is no such code
      if (code === "forbiden") return "";
      return `${code}: ${frame.data.message} ${frame.data.hint ?? ""}`;
    }
    case "event": {
      const event = frame.data;
      if (event.kind === "image_uploaded") {
        // @ts-expect-error: the field is `url`
        event.data.uri;
        return `${event.position}: ${event.data.name} is in ${event.data.store}, at ${event.data.url}`;
      }
      if (event.kind === "series_opened") return (event.data.evidence ?? []).map((one) => one.highest.toFixed()).join();
      return event.kind;
    }
    case "progress":
      return `${frame.data.value} of ${frame.data.max}`;
    case "waiting":
    case "preview":
    case "subscription_ended":
      return frame.type;
  }
}
