/** The client of comfyledger. README.md shows how it is used, docs/typescript.md of the repository has every call. */
export type { Given } from "./address.js";
export { Client, type ClientOptions, type InputFile } from "./client.js";
export type { CallOptions } from "./deadline.js";
export type { Kind, LedgerEvent, PreviewPush, ProgressPush, Pushed, PushedFor, Wanted } from "./events.js";
export { Refused } from "./refused.js";
export type { Subscription } from "./subscription.js";
export type { Answer, RequestData, RequestType } from "./transport.js";
export type * from "./wire.js";
