import { runsOf, type Running } from "../../live/progress";
import { now as texts } from "../../texts";
import { Bar } from "../../ui/Bar";
import { Icon } from "../../ui/Icon";

/** What of a batch runs at this moment. */
export function Runs({ batchId }: { batchId: string }) {
  const runs = [...runsOf(batchId).value.values()];
  if (runs.length === 0) return null;
  return (
    <ul class="runs">
      {runs.map((run) => (
        <Run key={run.prompt} run={run} />
      ))}
    </ul>
  );
}

function Run({ run }: { run: Running }) {
  const { images, value, max, preview } = run;
  const step = max > 0 ? texts.step(value, max) : texts.starts;
  return (
    <li class="run">
      {preview ? (
        <img class="run-preview" src={preview} alt={texts.previewOf(images)} />
      ) : (
        <span class="run-preview run-blank">
          <Icon name="gallery" />
        </span>
      )}
      <div class="run-words small">
        <span>{texts.rendering(images)}</span>
        <Bar label={step} parts={[{ kind: "running", value, text: step }]} total={max} />
        <span class="muted">{step}</span>
      </div>
    </li>
  );
}
