// What changes by itself: views read these signals and never poll.
import { followBatches } from "./batches";
import { followLog } from "./events";
import { followInfo } from "./info";

export { ask, client, connection, fetched } from "./client";
export { onBegin, onEvent } from "./events";
export { info, refreshInfo, type Info } from "./info";

/** Begins to follow the daemon. Call it once. */
export function goLive(): void {
  followInfo();
  followBatches();
  followLog();
}
