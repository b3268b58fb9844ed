import { Refused, unreadable } from "./refused.js";

/** A frame of the daemon: what it is, and to which request it belongs. */
export interface Frame {
  type: string;
  id: unknown;
  data: unknown;
}

/** Raises Refused (invalid_field) for a number that JSON does not have: it would silently become null. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (key, inner: unknown) => {
    if (typeof inner === "number" && !Number.isFinite(inner)) {
      const hint = "Leave the field out, or give a number.";
      throw new Refused("invalid_field", `The field ${JSON.stringify(key)} is ${inner}, which JSON does not have.`, {
        hint,
      });
    }
    return inner;
  });
}

/** Raises Refused (protocol_version) for what is no frame. */
export function readFrame(text: unknown): Frame {
  try {
    const { type, id, data } = JSON.parse(String(text)) as Partial<Frame>;
    if (typeof type === "string") return { type, id, data };
  } catch {
    // said below
  }
  throw unreadable("The daemon sent a frame that cannot be read.");
}
