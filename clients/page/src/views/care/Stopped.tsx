// What is paused or in trouble: stores, ComfyUIs, users, or everything. `resume` is here for what a person paused.
import { info } from "../../live";
import { care as texts, laneName } from "../../texts";
import { isTriable, scopeOf, type Lane } from "../now/lanes";
import { LaneText } from "../now/LaneText";
import { PauseButton } from "../now/PauseButton";
import { TryButton } from "../now/TryButton";

export function Stopped() {
  const lanes = info.value?.lanes ?? [];
  if (lanes.length === 0) return null;
  return (
    <section class="stack" aria-labelledby="stopped">
      <h2 id="stopped">{texts.stopped}</h2>
      {lanes.map((lane) => (
        <StoppedLane key={lane.lane} lane={lane} />
      ))}
    </section>
  );
}

function StoppedLane({ lane }: { lane: Lane }) {
  const name = laneName(lane.lane);
  const scope = scopeOf(lane);
  return (
    <article class="card lane" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <span class={`tag ${lane.code ? "tag-bad" : "tag-wait"}`}>{lane.code || texts.paused}</span>
      </header>
      <LaneText lane={lane} />
      {!lane.paused && <p class="small muted">{texts.triesAgain}</p>}
      {scope !== undefined && (
        <span class="batch-actions">
          {isTriable(lane) && <TryButton scope={scope} name={name} />}
          {lane.paused && <PauseButton scope={scope} name={name} isPaused />}
        </span>
      )}
    </article>
  );
}
