import type { Batch } from "../../live/batches";
import { now as texts } from "../../texts";
import type { Part } from "../../ui/Bar";

const KINDS = ["stored", "kept", "parked", "failed", "cancelled", "forgotten"] as const;

/** What became of the images of a batch, in the order of the bar; what is to come is its empty rest. */
export function partsOf(batch: Batch): Part[] {
  const parts = KINDS.map((kind) => {
    const value = batch[kind] ?? 0;
    return { kind, value, text: texts.counts[kind](value) };
  });
  return [...parts, { kind: "pending", value: batch.pending, text: texts.counts.pending(batch.pending) }];
}
