// The batches that this tab has asked for, and how far each is.
import { useEffect, useState } from "preact/hooks";
import type { BatchInfo } from "comfyledger";
import { ask, onBegin, onEvent } from "../../live";
import { refresher } from "../../live/refresh";
import { href } from "../../route";
import { make as texts } from "../../texts";
import { Bar } from "../../ui/Bar";
import { made, type Made } from "./sending";

const PAUSE_MS = 300;
/** An answer has every image of its batch. */
const PAUSE_MS_PER_IMAGE = 3;
const PICTURES_MAX = 12;

export function MadeList() {
  if (made.value.length === 0) return null;
  return (
    <section class="stack" aria-label={texts.done.title}>
      <h2>{texts.done.title}</h2>
      {made.value.map((one) => (
        <Followed key={one.accepted.batch_id} made={one} />
      ))}
    </section>
  );
}

function Followed({ made: { accepted, username, character } }: { made: Made }) {
  const batch = useBatch(accepted.batch_id, accepted.quantity);
  const { done } = texts;
  const pictures = (batch?.images ?? []).filter(({ thumbnail_url }) => thumbnail_url).slice(0, PICTURES_MAX);
  return (
    <article class="card stack" data-batch={accepted.batch_id}>
      <h3>{done.of(accepted.quantity, batch?.character ?? character, batch?.username ?? username)}</h3>
      {batch && <Bar label={done.progress} total={batch.quantity} parts={partsOf(batch)} />}
      {batch && <p class="small">{wordsOf(batch)}</p>}
      {pictures.length > 0 && (
        <ul class="make-pictures">
          {pictures.map((image) => (
            <li key={image.image_id}>
              <a href={href("image", [image.batch_id, image.index])}>
                <img src={image.thumbnail_url} alt={image.name} />
              </a>
            </li>
          ))}
        </ul>
      )}
      <p class="row">
        <a href={href("now")}>{done.now}</a>
        <a href={href("gallery", [], { batch: accepted.batch_id })}>{done.gallery}</a>
      </p>
    </article>
  );
}

function partsOf(batch: BatchInfo) {
  const { done } = texts;
  const { stored, kept, parked, failed, cancelled } = batch;
  return [
    { kind: "stored", value: stored, text: done.stored(stored) },
    { kind: "kept", value: kept, text: done.kept(kept) },
    { kind: "parked", value: parked, text: done.parked(parked) },
    { kind: "failed", value: failed, text: done.failed(failed) },
    { kind: "cancelled", value: cancelled, text: done.cancelled(cancelled) },
  ];
}

function wordsOf(batch: BatchInfo): string {
  const words = partsOf(batch).filter(({ value }) => value > 0).map(({ text }) => text);
  return [...words, ...(batch.status === "settled" ? [texts.done.settled] : [])].join(" · ");
}

/** A batch as it is now: asked for again after its events. */
function useBatch(batchId: string, quantity: number): BatchInfo | undefined {
  const [batch, setBatch] = useState<BatchInfo | undefined>(undefined);
  useEffect(() => {
    let isOver = false;
    const refresh = refresher(async () => {
      const found = isOver ? undefined : await ask("get_batch", { batch_id: batchId }).catch(() => undefined);
      if (!isOver && found) setBatch(found);
    }, Math.max(PAUSE_MS, PAUSE_MS_PER_IMAGE * quantity));
    refresh();
    const ends = [
      onBegin(refresh),
      onEvent(({ data }) => "batch_id" in data && data.batch_id === batchId && refresh()),
    ];
    return () => {
      isOver = true;
      for (const end of ends) end();
    };
  }, [batchId]);
  return batch;
}
