import { toJson } from "./frames.js";
import { LISTS, type Route } from "./routes.js";

/** Where the fields of a request go: into the path, the query or the body. */
export function placed(route: Route, data: object): { method: string; path: string; body: string | undefined } {
  const rest: Record<string, unknown> = { ...data };
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(rest[name]);
    delete rest[name];
    return value.split("/").map(encodeURIComponent).join("/"); // a public id has slashes
  });
  const isRead = route.method === "GET" || route.method === "DELETE";
  const query = isRead ? queryOf(rest, route.renamed) : "";
  return { method: route.method, path: path + query, body: isRead ? undefined : toJson(rest) };
}

/** A query with its question mark; empty without fields. */
export function queryOf(fields: object, renamed: Record<string, string> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields) as [string, unknown][]) {
    if (value === undefined || value === null) continue;
    query.append(renamed[name] ?? name, LISTS.includes(name) ? (value as string[]).join(",") : String(value));
  }
  return query.size > 0 ? `?${query}` : "";
}
