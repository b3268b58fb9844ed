// Which images a list has: the part of the address behind `?` in `#/gallery?…` and `#/image/…?…`, and what it asks the
// daemon for. An address may be shared, so its days are days of the calendar of whoever opens it.
import type { RequestData } from "comfyledger";

export const FILTER_NAMES = [
  "user",
  "character",
  "workflow",
  "batch",
  "state",
  "code",
  "verdict",
  "rating",
  "medium",
  "since",
  "until",
] as const;
export type FilterName = (typeof FILTER_NAMES)[number];

/** As in the address; empty values are left out. */
export type Filter = Readonly<Partial<Record<FilterName, string>>>;

/** The fields of `list_images` that choose images. Both times are inclusive, in milliseconds since 1970. */
export type Chosen = Omit<RequestData<"list_images">, "before" | "limit">;

/** Whether an image may enter or leave the list when it changes; other lists only grow. */
export function isVolatile({ state, code, verdict, rating }: Filter): boolean {
  return [state, code, verdict, rating].some(Boolean);
}

export function readFilter(query: URLSearchParams): Filter {
  const pairs = FILTER_NAMES.map((name) => [name, query.get(name) ?? ""] as const);
  return Object.fromEntries(pairs.filter(([, value]) => value !== ""));
}

/** The same text for the same filter. */
export function filterKey(filter: Filter): string {
  return JSON.stringify(FILTER_NAMES.map((name) => filter[name] ?? ""));
}

/** What the filter asks the daemon for. A rating or a day that is none is left out. */
export function chosen(filter: Filter): Chosen {
  const rating = Number(filter.rating ?? 0);
  const fields = {
    username: filter.user,
    character: filter.character,
    workflow: filter.workflow,
    batch_id: filter.batch,
    state: filter.state,
    code: filter.code,
    verdict: filter.verdict,
    rating_min: rating >= 1 && rating <= 5 ? rating : undefined,
    medium: filter.medium,
    since_ms: dayBegin(filter.since),
    until_ms: dayEnd(filter.until),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Chosen;
}

const DAY = /^(\d{4})-(\d\d)-(\d\d)$/;

/** The first millisecond of a day such as 2026-11-30, or of any other time that the browser can read. */
function dayBegin(text: string | undefined): number | undefined {
  const date = DAY.exec(text ?? "");
  const [year, month, day] = (date ?? []).slice(1).map(Number);
  const atMs = date ? new Date(year!, month! - 1, day!).getTime() : Date.parse(text ?? "");
  return Number.isFinite(atMs) && atMs >= 0 ? atMs : undefined;
}

/** The last millisecond of a day. */
function dayEnd(text: string | undefined): number | undefined {
  const date = DAY.exec(text ?? "");
  if (!date) return dayBegin(text);
  const [year, month, day] = date.slice(1).map(Number);
  return new Date(year!, month! - 1, day! + 1).getTime() - 1;
}
