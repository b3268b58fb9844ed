// What else stands in the way: paused users and disks, requests that wait for a store's numbers, and room.
import { info, type Info } from "../../live";
import { laneName, now as texts } from "../../texts";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { Disks } from "./Disks";
import type { Lane } from "./lanes";
import { LaneText } from "./LaneText";
import { PauseButton } from "./PauseButton";

type Waiting = Info["waiting"][number];

export function Others() {
  const { lanes = [], waiting = [] } = info.value ?? {};
  const others = lanes.filter(({ lane }) => !/^(store|backend)\/|^everything$/.test(lane));
  return (
    <>
      {waiting.length > 0 && <WaitingSeries waiting={waiting} />}
      {others.length > 0 && <OtherLanes lanes={others} />}
      <Disks />
    </>
  );
}

function WaitingSeries({ waiting }: { waiting: readonly Waiting[] }) {
  return (
    <section class="stack" aria-labelledby="waiting">
      <h2 id="waiting">{texts.waiting}</h2>
      {waiting.map(({ series, reason, requests, since_ms }) => (
        <article key={series} class="card lane">
          <h3>{series}</h3>
          <p class="note">
            <Words text={reason} />
          </p>
          <p class="small muted">
            {texts.waitingText(requests)} {texts.since} <Time atMs={since_ms} />
          </p>
        </article>
      ))}
    </section>
  );
}

function OtherLanes({ lanes }: { lanes: readonly Lane[] }) {
  return (
    <section class="stack" aria-labelledby="lanes">
      <h2 id="lanes">{texts.lanes}</h2>
      {lanes.map((lane) => (
        <OtherLane key={lane.lane} lane={lane} />
      ))}
    </section>
  );
}

function OtherLane({ lane }: { lane: Lane }) {
  const user = lane.lane.startsWith("user/") ? lane.lane.slice("user/".length) : undefined;
  const name = laneName(lane.lane);
  return (
    <article class="card lane" aria-label={name}>
      <h3>{name}</h3>
      <LaneText lane={lane} />
      {user !== undefined && (
        <span class="batch-actions">
          <PauseButton scope={`user:${user}`} name={name} isPaused />
        </span>
      )}
    </article>
  );
}
