import type { EventOfKind, LoggedEventPlace, Preview, Progress, Subscribe } from "./wire.js";

type Place = Omit<LoggedEventPlace, "subscription">;

/** The name of a kind of event. docs/events.md describes each. */
export type Kind = EventOfKind["kind"];

/** An event of the log; `kind` says which `data` it has. With `K` only events of these kinds. */
export type LedgerEvent<K extends Kind = Kind> = Place & Extract<EventOfKind, { kind: K }>;

/** Steps of a running prompt. They are not in the log, and are dropped for a slow reader. */
export type ProgressPush = { kind: "progress" } & Omit<Progress, "subscription">;

/** A preview of a running prompt, in Base64. It is not in the log, and is dropped for a slow reader. */
export type PreviewPush = { kind: "preview" } & Omit<Preview, "subscription">;

/** Everything that a subscription can yield. `kind` tells events, progress and previews apart. */
export type Pushed = LedgerEvent | ProgressPush | PreviewPush;

/** What a subscription may ask for: the fields of `subscribe`. */
export type Wanted = Omit<Subscribe, "kinds"> & { kinds?: readonly Kind[] | null };

/** What a subscription yields that asked for `W`: events of its kinds, and progress and previews if it asked for them. */
export type PushedFor<W> =
  | LedgerEvent<W extends { kinds: readonly (infer K extends Kind)[] } ? K : Kind>
  | (W extends { progress: true } | { previews: true } ? ProgressPush : never)
  | (W extends { previews: true } ? PreviewPush : never);
