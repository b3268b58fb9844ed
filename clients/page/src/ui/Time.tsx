import { clock } from "./clock";
import { exact, relative } from "./spans";

/** How long ago, or in how long; the title has the exact time. */
export function Time({ atMs }: { atMs: number }) {
  return (
    <time dateTime={new Date(atMs).toISOString()} title={exact(atMs)}>
      {relative(atMs, Math.max(clock.value, atMs > clock.value ? Date.now() : 0))}
    </time>
  );
}
