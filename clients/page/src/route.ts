// Which view the page shows: the part of its address behind #. Views read `route` and call `go`; nobody else touches
// `location.hash`, except a one-time code at the very start (session/code.ts).
import { computed, signal } from "@preact/signals";

export const VIEWS = ["now", "gallery", "image", "compare", "story", "make", "care"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  /** What follows the view, decoded: `#/image/BATCH/INDEX` gives ["BATCH", "INDEX"]. */
  path: readonly string[];
  query: URLSearchParams;
}

/** `undefined` and empty values are left out. */
export type Query = Record<string, string | number | undefined>;

const hash = signal(location.hash);

/** The route of the present address; an address that names no view is Now. */
export const route = computed(() => readRoute(hash.value));

export function readRoute(text: string): Route {
  const [path = "", query = ""] = split(text.replace(/^#\/?/, ""), "?");
  const [view = "", ...rest] = path.split("/");
  const known = VIEWS.find((name) => name === view) ?? "now";
  return { view: known, path: rest.map(decoded), query: new URLSearchParams(query) };
}

/** The address of a view, for links: `href("image", [batch, 3])`. */
export function href(view: View, path: readonly (string | number)[] = [], query: Query = {}): string {
  const parts = [view, ...path.map((part) => encodeURIComponent(part))];
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return `#/${parts.join("/")}${search ? `?${search}` : ""}`;
}

/** Shows a view. `replace`: the back button skips the present one. */
export function go(address: string, { replace = false } = {}): void {
  if (replace) history.replaceState(history.state, "", address);
  else history.pushState(null, "", address);
  hash.value = location.hash;
}

function split(text: string, sign: string): [string, string] {
  const at = text.indexOf(sign);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** A broken % sequence stays as it is. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

addEventListener("hashchange", () => (hash.value = location.hash));
addEventListener("popstate", () => (hash.value = location.hash));
