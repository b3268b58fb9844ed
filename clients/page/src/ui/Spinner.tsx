import { common } from "../texts";

/** Something is under way. With `told`, screen readers say so; inside a busy button the button does. */
export function Spinner({ told = false }: { told?: boolean }) {
  if (told) return <span class="spinner" role="status" aria-label={common.loading} />;
  return <span class="spinner" aria-hidden="true" />;
}
