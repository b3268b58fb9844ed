// Keys of the large view and of the comparison. Arrows, space and Escape work wherever the focus is, unless what has the
// focus needs them itself. Signs work only while the stage has the focus, so that speech input does not press them by
// accident (WCAG 2.2, 2.1.4).
import { useLayoutEffect, useRef } from "preact/hooks";

/** Does something with a key, and says whether it did. */
export type OnKey = (key: string, event: KeyboardEvent) => boolean;

const TYPED = "input, select, textarea, [contenteditable], [role=tab]";
const PRESSED = "button, a, summary, label";
const PLAYED = "video, audio";
const STAGE = ".stage";

export function useKeys(onKey: OnKey): void {
  const latest = useRef(onKey);
  latest.current = onKey;
  // Before the next paint: no key falls between the mount and the listener.
  useLayoutEffect(() => {
    const hear = (event: KeyboardEvent) => {
      if (isFree(event) && latest.current(event.key, event)) event.preventDefault();
    };
    document.addEventListener("keydown", hear);
    return () => document.removeEventListener("keydown", hear);
  }, []);
}

/** Whether nobody else needs the key. */
function isFree(event: KeyboardEvent): boolean {
  const { target, key } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (document.querySelector("dialog[open]") !== null) return false;
  if (!(target instanceof Element)) return true;
  if (key === "Escape") return true;
  if (target.matches(TYPED)) return false;
  if (key === " " || key === "Enter") return !target.matches(`${PRESSED}, ${PLAYED}`);
  if (key.length === 1) return target.closest(STAGE) !== null;
  return !target.matches(PLAYED);
}
