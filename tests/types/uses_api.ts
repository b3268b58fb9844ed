// What an app in TypeScript does with the types of HTTP. Where a line is wrong on purpose, the compiler must say so.
import type { components, operations, paths } from "./generated/api";

type Problem = components["schemas"]["Problem"];
type Body = operations["submit_batch"]["requestBody"]["content"]["application/json"];
type Accepted = operations["submit_batch"]["responses"]["201"]["content"]["application/json"];
type Listing = paths["/v1/batches"]["get"]["parameters"]["query"];

export const body: Body = { username: "Areg", character: "Opal Fever", quantity: 2, priority: "low" };
// @ts-expect-error: the field is `character`
export const misspelt: Body = { username: "Areg", charakter: "Opal Fever", quantity: 2 };
export const listing: Listing = { username: "Areg", open_only: true, limit: 10, cursor: "01M82DA9EJBQZAAZJR4D2RM95D" };
// @ts-expect-error: the parameter is `cursor`
export const page: Listing = { before: "01M82DA9EJBQZAAZJR4D2RM95D" };

export async function submit(origin: string, token: string): Promise<Accepted> {
  const answer = await fetch(`${origin}/v1/batches`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "Idempotency-Key": "order-1001" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) {
    const problem = (await answer.json()) as Problem;
    // @ts-expect-error: there is no such code
    if (problem.code === "forbiden") throw new Error("never");
    throw new Error(`${problem.code}: ${problem.detail} ${problem.hint ?? ""}`);
  }
  return (await answer.json()) as Accepted;
}

export function told(event: components["schemas"]["StreamedEvent"]): string {
  // @ts-expect-error: an event of this kind has no `url`
  if (event.kind === "batch_settled") return event.data.url;
  return event.kind === "image_uploaded" ? event.data.url : event.kind;
}
