// What one can choose in the filters: the users, characters and workflows that the other filters leave, with how many
// images each has.
import { useSignal, type ReadonlySignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { chosen, filterKey, type Filter } from "../../live/image_filter";
import { groups, type CountBy, type Group } from "../../live/image_requests";

const NAMES = { user: "username", character: "character", workflow: "workflow" } as const satisfies Record<string, CountBy>;
export type Counted = keyof typeof NAMES;

/** Most images first; undefined until the daemon has answered. What cannot be counted stays undefined. */
export function useChoices(name: Counted, filter: Filter): ReadonlySignal<readonly Group[] | undefined> {
  const found = useSignal<readonly Group[] | undefined>(undefined);
  const { [name]: _, ...others } = filter;
  useEffect(() => {
    const stop = new AbortController();
    const take = (came: readonly Group[]) => (found.value = came);
    groups(chosen(others), NAMES[name], { signal: stop.signal }).then(take, () => undefined);
    return () => stop.abort();
  }, [filterKey(others)]);
  return found;
}
