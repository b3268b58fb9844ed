// Making an image again from its recipe.
import { ask } from "../../live";
import { image as texts } from "../../texts";
import { newRequestId } from "../../live/request_id";
import type { Done } from "../../ui/actions";

/** Asks for the run again, with the seed of its recipe or with another. Rejects with Refused. `made` gets the batch. */
export async function again(imageId: string, seed: "same" | "new", made: (batchId: string) => void): Promise<Done> {
  // One id for the whole call: the client repeats it over a broken connection, and the daemon makes one batch.
  const request = { request_id: newRequestId(), like: imageId, ...(seed === "new" && { seed: "random" as const }) };
  const { batch_id, quantity } = await ask("submit_batch", request);
  made(batch_id);
  return { text: texts.requestedAgain(quantity), undo: () => ask("cancel", { batch_id }) };
}
