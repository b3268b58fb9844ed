// The disks, each with everything that is on it.
import type { Info } from "../../live";

type Folder = NonNullable<Info["disks"]>[number];

export interface Disk {
  key: string;
  /** What is on it. */
  folders: readonly Folder[];
  /** Undefined if it cannot be read now. */
  room?: { freeBytes: number; sizeBytes: number };
  /** Nothing new is taken while fewer bytes are free; 0 if it may be filled. */
  freeMinBytes: number;
}

/** Folders on one disk share its room; one that cannot be read stands alone. */
export function disksOf(folders: readonly Folder[]): Disk[] {
  const together = new Map<string, Folder[]>();
  for (const folder of folders) {
    const key = folder.disk == null ? `${folder.use} ${folder.store}` : String(folder.disk);
    together.set(key, [...(together.get(key) ?? []), folder]);
  }
  return [...together].map(([key, folders]) => ({
    key,
    folders,
    room: roomOf(folders),
    freeMinBytes: Math.max(...folders.map((folder) => folder.free_min_bytes)),
  }));
}

/** Folders of one disk may have been read some seconds apart: what is shown is the least. */
function roomOf(folders: readonly Folder[]): Disk["room"] {
  const read = folders.filter(({ free_bytes, size_bytes }) => free_bytes != null && size_bytes != null);
  if (read.length === 0) return undefined;
  return {
    freeBytes: Math.min(...read.map(({ free_bytes }) => free_bytes ?? 0)),
    sizeBytes: Math.max(...read.map(({ size_bytes }) => size_bytes ?? 0)),
  };
}
