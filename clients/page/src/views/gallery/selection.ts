// The images that a person has selected, and the one that the keyboard is at. Both outlive the view, so that looking at
// one image does not lose them.
import { computed, signal } from "@preact/signals";
import type { Image } from "../../live/image_list";
import type { Pages } from "../../live/image_pages";

/** As many as one zip takes. */
export const SELECTED_MAX = 5_000;

export const selected = signal<ReadonlyMap<string, Image>>(new Map());
export const hasSelection = computed(() => selected.value.size > 0);
/** The place of the keyboard in the list, from 0. */
export const active = signal(0);
/** Where a range begins. */
let origin = 0;
/** The list that both belong to. */
let listKey = "";

/** Another list begins at its top with nothing selected: nobody acts on images that they do not see. */
export function beginAt(key: string): void {
  if (key === listKey) return;
  listKey = key;
  active.value = origin = 0;
  clearSelection();
}

export function clearSelection(): void {
  if (selected.peek().size > 0) selected.value = new Map();
}

/** Adds an image to the selection, or takes it out. */
export function toggle(image: Image, position: number): void {
  const next = new Map(selected.peek());
  if (!next.delete(image.image_id)) add(next, [image]);
  origin = position;
  selected.value = next;
}

/** Begins a range at a place. */
export function beginRange(position: number): void {
  origin = position;
}

/** Selects from where the range began to a place. Resolves to whether all had room. */
export async function selectTo(pages: Pages, position: number): Promise<boolean> {
  const [from, to] = [Math.min(origin, position), Math.max(origin, position)];
  const last = Math.min(to, from + SELECTED_MAX);
  const next = new Map<string, Image>();
  let isWhole = last === to;
  for (let at = from; at <= last; at += 1) {
    const image = pages.peek(at) ?? (await pages.fetch(at));
    if (image) isWhole = add(next, [image]) && isWhole;
  }
  selected.value = next;
  return isWhole;
}

/** Takes over what images are now. */
export function renewSelected(images: readonly Image[]): void {
  const known = images.filter(({ image_id }) => selected.peek().has(image_id));
  if (known.length > 0) selected.value = new Map([...selected.peek(), ...known.map((image) => [image.image_id, image] as const)]);
}

function add(into: Map<string, Image>, images: readonly Image[]): boolean {
  for (const image of images) {
    if (into.size >= SELECTED_MAX) return false;
    into.set(image.image_id, image);
  }
  return true;
}
