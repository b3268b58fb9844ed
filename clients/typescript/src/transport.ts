import type { Feed } from "./feed.js";
import type { ClientFrame, Results } from "./wire.js";

type Asked = { [F in ClientFrame as F["type"]]: NonNullable<F["data"]> };
/** Requests about a connection itself, which the client sends by itself. */
type OfConnection = "hello" | "subscribe" | "unsubscribe";

/** The type of a request that an app can make. docs/wire.md describes each. */
export type RequestType = Exclude<keyof Asked & keyof Results, OfConnection>;
/** The fields of a request. */
export type RequestData<T extends RequestType> = Asked[T];
/** The answer to a request. Fields with their default value are left out. */
export type Answer<T extends RequestType> = Results[T];

/**
 * How long a call may take. `isGiven`: the caller named the time, so that it is never extended. Infinity: no limit.
 */
export interface Limits {
  timeoutS: number;
  isGiven: boolean;
  signal: AbortSignal | undefined;
}

/** An input file on its way: its bytes, and a name whose extension says what they are if they do not. */
export interface Upload {
  body: Blob | Uint8Array<ArrayBuffer>;
  sizeBytes: number;
  name: string;
}

/** A road to the daemon. Each call repeats itself while the daemon is away, and rejects with a Refused. */
export interface Transport {
  /** Connects once, to see whether the daemon takes the token. */
  connect(limits: Limits): Promise<void>;
  ask<T extends RequestType>(type: T, data: RequestData<T>, limits: Limits): Promise<Answer<T>>;
  /** Makes a feed live after its last position. */
  begin(feed: Feed, limits: Limits): Promise<void>;
  /** Ends everything. Calls without an answer reject, feeds are stopped. */
  close(): void;
}

/** How long an answer may take after the daemon said that it waits for a store, in seconds. */
export const WAITING_S = 600;
