// What the gallery asks of the daemon for a selection.
import { Refused } from "comfyledger";
import { ask, fetched } from "../../live";
import type { Image } from "../../live/image_list";
import { gallery as texts } from "../../texts";
import { byBatch } from "../../ui/forgetting";

const RETRIED: readonly string[] = ["failed", "parked"];

/** Whether trying again may help. */
export function canRetry({ state }: Image): boolean {
  return RETRIED.includes(state);
}

/** Tries images again, batch by batch, and answers how many. Rejects with Refused; what was asked before that stays. */
export async function retryAll(images: readonly Image[]): Promise<number> {
  let changed = 0;
  for (const [batch_id, its] of byBatch(images)) {
    changed += (await ask("retry", { batch_id, images: its.map(({ index }) => index) })).images;
  }
  return changed;
}

interface Zip {
  url: string;
}

/** A signed address that streams the files as one zip. Rejects with Refused. */
export async function zipOf(images: readonly Image[]): Promise<string> {
  const response = await fetched("/v1/zips", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ images: images.map(({ image_id }) => image_id) }),
  });
  const answer = (await response.json().catch(() => ({}))) as Partial<Zip & { code: Refused["code"]; detail: string; hint: string }>;
  if (response.ok && answer.url) return answer.url;
  throw new Refused(answer.code ?? "internal", answer.detail ?? texts.noZip(response.status), { hint: answer.hint });
}
