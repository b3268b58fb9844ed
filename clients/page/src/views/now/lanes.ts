// Lanes: what pauses and goes on as a whole. The daemon names them `store/NAME`; a scope of pause and resume is
// `store:NAME`.
import { info, type Info } from "../../live";
import { baseOf } from "../../texts";

export type Lane = Info["lanes"][number];

export function laneOf(kind: "store" | "backend", name: string): Lane | undefined {
  const those = info.value?.lanes.filter(({ lane }) => baseOf(lane) === `${kind}/${name}`) ?? [];
  const troubled = those.find(({ code }) => code);
  return troubled ? { ...troubled, paused: those.some(({ paused }) => paused) } : those[0];
}

/** The scope of a lane; undefined for the disks' lanes, which nobody pauses and which look each second. */
export function scopeOf({ lane }: Lane): string | undefined {
  const base = baseOf(lane);
  return base === "spool" || base === "inputs" ? undefined : base.replace("/", ":");
}

/** Whether a person can have it tried now: it does not work, nobody has paused it, and it is not another box's. */
export function isTriable(lane: Lane | undefined): boolean {
  if (lane === undefined || !lane.code || lane.paused || !/^(store|backend)\//.test(lane.lane)) return false;
  const box = /^store\/.*@(.+)$/.exec(lane.lane)?.[1] ?? /^backend\/(.+)\./.exec(lane.lane)?.[1];
  return box === undefined || box === info.value?.boxes?.find(({ own }) => own)?.name;
}
