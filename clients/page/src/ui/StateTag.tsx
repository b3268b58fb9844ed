import { states } from "../texts";

const LOOKS: Record<string, string> = {
  stored: "tag-good",
  kept: "tag-calm",
  pending: "tag-wait",
  parked: "tag-wait",
  failed: "tag-bad",
};

/** What became of an image, in a word. */
export function StateTag({ state }: { state: string }) {
  return <span class={`tag ${LOOKS[state] ?? ""}`}>{states[state] ?? state}</span>;
}
