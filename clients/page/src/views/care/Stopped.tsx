// What is paused or in trouble: stores, ComfyUIs, users, or everything. `resume` is here for what a person paused.
import { info } from "../../live";
import { care as texts } from "../../texts";
import { PauseButton } from "../now/PauseButton";
import { LaneText } from "../now/Stores";

export function Stopped() {
  const lanes = info.value?.lanes ?? [];
  if (lanes.length === 0) return null;
  return (
    <section class="stack" aria-labelledby="stopped">
      <h2 id="stopped">{texts.stopped}</h2>
      {lanes.map((lane) => {
        const scope = lane.lane.replace("/", ":");
        return (
          <article key={lane.lane} class="card lane" aria-label={scope}>
            <header class="batch-head">
              <h3>{scope}</h3>
              <span class={`tag ${lane.code ? "tag-bad" : "tag-wait"}`}>{lane.code || texts.paused}</span>
            </header>
            <LaneText lane={lane} />
            {lane.paused ? (
              <span class="batch-actions">
                <PauseButton scope={scope} name={scope} isPaused />
              </span>
            ) : (
              <p class="small muted">{texts.triesAgain}</p>
            )}
          </article>
        );
      })}
    </section>
  );
}
