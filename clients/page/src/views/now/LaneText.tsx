import { now as texts } from "../../texts";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import type { Lane } from "./lanes";

/** Why a lane is paused, and since when. */
export function LaneText({ lane }: { lane: Lane }) {
  const why = lane.text || lane.code || texts.held["person"];
  return (
    <p class="note">
      <Words text={why ?? ""} />{" "}
      {lane.since_ms ? (
        <span class="muted">
          {lane.code ? texts.since : texts.was} <Time atMs={lane.since_ms} />
        </span>
      ) : null}
    </p>
  );
}
