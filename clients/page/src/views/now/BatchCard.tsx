import { useSignal, type Signal } from "@preact/signals";
import type { Batch } from "../../live/batches";
import { href } from "../../route";
import { mayChange } from "../../session/session";
import { now as texts } from "../../texts";
import { Bar } from "../../ui/Bar";
import { Button } from "../../ui/Button";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { BatchActions } from "./BatchActions";
import { partsOf } from "./counts";
import { Owed } from "./Owed";
import { Runs } from "./Runs";

/** A batch in work. */
export function OpenBatch({ batch }: { batch: Signal<Batch> }) {
  return <BatchCard batch={batch.value} />;
}

/** A batch: whose it is, how far it is, what runs, why it waits, and what one can do. */
export function BatchCard({ batch }: { batch: Batch }) {
  const isWhy = useSignal(false);
  const isOpen = batch.status === "open" || batch.status === "held";
  const parts = partsOf(batch);
  const name = texts.whose(batch.character, batch.username);
  return (
    <article class="card batch" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <BatchTags batch={batch} />
      </header>
      <Bar label={texts.progress} parts={parts} total={batch.quantity} />
      <p class="small">
        {parts.filter(({ value }) => value > 0).map(({ text }) => text).join(" · ")}
      </p>
      {batch.parked > 0 && (
        <p class="small muted">
          {texts.parked} <a href={href("care")}>{texts.parkedLink}</a>
        </p>
      )}
      {batch.held && <Held batch={batch} />}
      {isOpen && <Runs batchId={batch.batch_id} />}
      <footer class="batch-foot">
        {isOpen && (
          <Button kind="quiet" onClick={() => (isWhy.value = !isWhy.value)} expanded={isWhy.value}>
            {texts.why}
          </Button>
        )}
        <a href={href("gallery", [], { batch: batch.batch_id })}>{texts.gallery}</a>
        <a href={href("story", [batch.batch_id])}>{texts.story}</a>
        <BatchActions batch={batch} name={name} />
      </footer>
      {isOpen && isWhy.value && <Owed batch={batch} />}
    </article>
  );
}

function BatchTags({ batch }: { batch: Batch }) {
  const kind = batch.status === "held" ? "tag tag-wait" : "tag tag-calm";
  return (
    <span class="row small muted">
      <span>{batch.workflow || texts.graph}</span>
      <Time atMs={batch.requested_at_ms} />
      {batch.priority !== "normal" && !mayChange(batch.label) && <span class="tag">{`${texts.priority}: ${batch.priority}`}</span>}
      <span class={kind}>{texts.statuses[batch.status] ?? batch.status}</span>
    </span>
  );
}

function Held({ batch }: { batch: Batch }) {
  return (
    <p class="note">
      <Words text={`${texts.held[batch.held] ?? batch.held} ${batch.held_text ?? ""}`.trim()} />
    </p>
  );
}
