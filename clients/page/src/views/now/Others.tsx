// What else stands in the way: paused users and disks, requests that wait for a store's numbers, and room.
import { info, type Info } from "../../live";
import { now as texts } from "../../texts";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { PauseButton } from "./PauseButton";
import { LaneText } from "./Stores";

type Lane = Info["lanes"][number];
type Waiting = Info["waiting"][number];

export function Others() {
  const { lanes = [], waiting = [] } = info.value ?? {};
  const others = lanes.filter(({ lane }) => !/^(store|backend)\/|^everything$/.test(lane));
  return (
    <>
      {waiting.length > 0 && <WaitingSeries waiting={waiting} />}
      {others.length > 0 && <OtherLanes lanes={others} />}
      <Room />
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
  const name = user === undefined ? lane.lane : texts.users(user);
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

function Room() {
  const { storage_text, inputs } = info.value ?? {};
  return (
    <section class="stack" aria-labelledby="room">
      <h2 id="room">{texts.room}</h2>
      <div class="card small">
        <p>
          <Words text={storage_text || texts.roomFine} />
        </p>
        {inputs && <p class="muted">{texts.inputs(size(inputs.size_bytes), size(inputs.quota_bytes))}</p>}
      </div>
    </section>
  );
}

/** 1,234,567 → "1.2 MB". */
function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1_000 ** step).toLocaleString(undefined, { maximumFractionDigits: 1 })} ${units[step]}`;
}
