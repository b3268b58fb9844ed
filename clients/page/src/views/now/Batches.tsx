import { useSignal } from "@preact/signals";
import { batchesProblem, hasMoreOpen, openBatches, recentBatches } from "../../live/batches";
import { href } from "../../route";
import { may } from "../../session/session";
import { now as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { Empty } from "../../ui/Empty";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { BatchCard, OpenBatch } from "./BatchCard";

/** So many cards at once: each is live, and nobody reads a thousand. */
const CARDS = 24;

/** All batches in work, and those that were finished while the page looked. */
export function Batches() {
  const shown = useSignal(CARDS);
  const batches = openBatches.value;
  if (batches === undefined) return batchesProblem.value ? <Problem error={batchesProblem.value} /> : <Spinner told />;
  const left = batches.length - shown.value;
  return (
    <>
      <section class="stack" aria-labelledby="in-work">
        <h2 id="in-work">{texts.batches(batches.length, hasMoreOpen.value)}</h2>
        {batches.length === 0 && <Nothing />}
        {batches.slice(0, shown.value).map((batch) => (
          <OpenBatch key={batch.peek().batch_id} batch={batch} />
        ))}
        {left > 0 && (
          <Button onClick={() => (shown.value += CARDS)}>{texts.showMore(Math.min(left, CARDS))}</Button>
        )}
      </section>
      <Recent />
    </>
  );
}

function Nothing() {
  return (
    <Empty title={texts.noBatches}>
      <p>{texts.noBatchesText}</p>
      {may("submit_configured") && <a href={href("make")}>{texts.makeOne}</a>}
    </Empty>
  );
}

function Recent() {
  const batches = recentBatches.value;
  if (batches.length === 0) return null;
  return (
    <section class="stack" aria-labelledby="recent">
      <h2 id="recent">{texts.recent}</h2>
      {batches.map((batch) => (
        <BatchCard key={batch.batch_id} batch={batch} />
      ))}
    </section>
  );
}
