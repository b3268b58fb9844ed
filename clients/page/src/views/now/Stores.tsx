import { info, type Info } from "../../live";
import { now as texts } from "../../texts";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { PauseButton } from "./PauseButton";

type Store = Info["stores"][number];
type Lane = Info["lanes"][number];

/** The stores, and what their lanes say. */
export function Stores() {
  const { stores, lanes = [], open } = info.value ?? {};
  if (stores === undefined) return null;
  return (
    <section class="stack" aria-labelledby="stores">
      <h2 id="stores">{texts.stores}</h2>
      {stores.length === 0 && <p class="muted">{texts.noStores}</p>}
      {stores.map((store) => (
        <StoreCard key={store.name} store={store} lane={lanes.find(({ lane }) => lane === `store/${store.name}`)} />
      ))}
      <p class="small muted">{texts.uploads(open?.["uploads"] ?? 0)}</p>
    </section>
  );
}

function StoreCard({ store, lane }: { store: Store; lane: Lane | undefined }) {
  const { name, kind, problem } = store;
  const isPaused = lane?.paused ?? false;
  const isTrouble = Boolean(problem || lane?.code);
  const tag = isTrouble ? "tag-bad" : isPaused ? "tag-wait" : "tag-good";
  const state = isTrouble ? texts.storeTrouble : isPaused ? texts.storePaused : texts.storeFine;
  return (
    <article class="card lane" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <span class="row small muted">
          {kind}
          <span class={`tag ${tag}`}>{state}</span>
        </span>
      </header>
      {problem && (
        <p class="note">
          <Words text={problem} />
        </p>
      )}
      {lane && <LaneText lane={lane} />}
      <span class="batch-actions">
        <PauseButton scope={`store:${name}`} name={name} isPaused={isPaused || lane !== undefined} />
      </span>
    </article>
  );
}

/** Why a lane is paused, and since when. */
export function LaneText({ lane }: { lane: Lane }) {
  const why = lane.text || lane.code || texts.held["person"];
  return (
    <p class="note">
      <Words text={why ?? ""} />{" "}
      {lane.since_ms ? (
        <span class="muted">
          {texts.since} <Time atMs={lane.since_ms} />
        </span>
      ) : null}
    </p>
  );
}
