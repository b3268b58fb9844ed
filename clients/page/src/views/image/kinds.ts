// How a file is shown: what browsers can show, by extension. The daemon sends everything else as a download, because a
// browser could run it (docs/media.md).
import type { ImageInfo } from "../../ui/reviewing";

const SHOWN = {
  picture: ["png", "jpg", "webp", "gif", "avif", "bmp"],
  drawing: ["svg"],
  video: ["mp4", "webm", "ogv", "mov", "mkv"],
  audio: ["flac", "wav", "mp3", "ogg", "m4a", "aac"],
} as const;

export type Shown = keyof typeof SHOWN | "other" | "nothing";

/** `nothing`: there is no file. `other`: only a download, perhaps with a thumbnail. */
export function shownAs({ file_url, extension = "" }: ImageInfo): Shown {
  if (!file_url) return "nothing";
  const found = Object.entries(SHOWN).find(([, extensions]) => (extensions as readonly string[]).includes(extension));
  return (found?.[0] as Shown | undefined) ?? "other";
}

/** Whether it can be zoomed. */
export function isPicture(image: ImageInfo): boolean {
  return ["picture", "drawing"].includes(shownAs(image));
}

/** The name under which a file is downloaded. */
export function fileName({ name, extension }: ImageInfo): string {
  return extension ? `${name}.${extension}` : name;
}

const STEP = 1024;
const UNITS = ["B", "KiB", "MiB", "GiB"] as const;

/** 1536 → "1.5 KiB". */
export function sizeText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(STEP)));
  const value = bytes / STEP ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`;
}
