import { info, type Info } from "../../live";
import { now as texts } from "../../texts";
import { Words } from "../../ui/Words";
import { isTriable, laneOf, type Lane } from "./lanes";
import { LaneText } from "./LaneText";
import { PauseButton } from "./PauseButton";
import { TryButton } from "./TryButton";

type Store = Info["stores"][number];

/** The stores, and what their lanes say. */
export function Stores() {
  const { stores, open } = info.value ?? {};
  if (stores === undefined) return null;
  const uploads = open?.["uploads"] ?? 0;
  return (
    <section class="stack" aria-labelledby="stores">
      <h2 id="stores">{texts.stores}</h2>
      <p class="small muted">{stores.length === 0 ? texts.noStores : texts.storesText}</p>
      {stores.map((store) => (
        <StoreCard key={store.name} store={store} lane={laneOf("store", store.name)} />
      ))}
      {uploads > 0 && <p class="small muted">{texts.uploads(uploads)}</p>}
    </section>
  );
}

function StoreCard({ store, lane }: { store: Store; lane: Lane | undefined }) {
  const { name, kind, problem, caveat } = store;
  const isPaused = lane?.paused ?? false;
  const isTrouble = Boolean(problem || lane?.code);
  const tag = isTrouble ? "tag-bad" : isPaused ? "tag-wait" : "tag-good";
  const state = isTrouble ? texts.storeTrouble : isPaused ? texts.storePaused : texts.storeFine;
  return (
    <article class="card lane" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <span class="row small muted">
          {kind !== name && kind}
          <span class={`tag ${tag}`}>{state}</span>
        </span>
      </header>
      {problem && (
        <p class="note">
          <Words text={problem} />
        </p>
      )}
      {caveat && (
        <p class="note small">
          <Words text={caveat} />
        </p>
      )}
      {lane && <LaneText lane={lane} />}
      <span class="batch-actions">
        {isTriable(lane) && <TryButton scope={`store:${name}`} name={name} />}
        <PauseButton scope={`store:${name}`} name={name} isPaused={isPaused} />
      </span>
    </article>
  );
}
