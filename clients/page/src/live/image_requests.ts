// The two requests behind every list of images. They ask for one moment: what is newer than `until_ms` stays out, so that
// pages and counts of one list fit together.
import type { Answer, CallOptions, RequestData } from "comfyledger";
import { ask } from "./client";
import type { Chosen } from "./image_filter";
import { gallery as texts } from "../texts";

export type Image = Answer<"list_images">["images"][number];

/** Images of one page, unless the list is so long that the daemon gives fewer cursors. */
export const PAGE = 100;
const PAGE_MAX = 500;

export interface Counted {
  count: number;
  /** Cursor k is what page k begins after; the first is empty. */
  cursors: readonly string[];
  /** Images of one page. */
  pageSize: number;
}

export interface Asked {
  /** The last image before the page; empty for the first page. */
  before?: string;
  limit?: number;
}

export async function listed(
  fields: Chosen,
  { before, limit = PAGE }: Asked = {},
  options?: CallOptions,
): Promise<readonly Image[]> {
  const { images } = await ask("list_images", { ...fields, limit, ...(before && { before }) }, options);
  return images;
}

/** Rejects if there are so many that pages cannot be found: more than five millions. */
export async function counted(fields: Chosen, options?: CallOptions): Promise<Counted> {
  const asked = { ...fields, cursors_every: PAGE };
  const { count, cursors = [""], cursors_every = PAGE } = await ask("count_images", asked, options);
  if (cursors_every > PAGE_MAX) throw new Error(texts.tooMany(count));
  return { count, cursors, pageSize: cursors_every };
}

/** How many there are, without the places of their pages. */
export async function countOnly(fields: Chosen, options?: CallOptions): Promise<number> {
  return (await ask("count_images", fields, options)).count;
}

export type CountBy = NonNullable<RequestData<"count_images">["by"]>;
export type Group = NonNullable<Answer<"count_images">["groups"]>[number];

/** How many images there are of each user, each character …, most images first. */
export async function groups(fields: Chosen, by: CountBy, options?: CallOptions): Promise<readonly Group[]> {
  return (await ask("count_images", { ...fields, by }, options)).groups ?? [];
}
