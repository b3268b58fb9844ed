import { Icon, type IconName } from "./Icon";
import { Spinner } from "./Spinner";

export interface IconButtonProps {
  icon: IconName;
  /** What it does; also its tooltip. */
  label: string;
  onClick: () => void;
  disabled?: boolean;
  pending?: boolean;
  pressed?: boolean;
}

/** A button of one picture. */
export function IconButton({ icon, label, onClick, disabled, pending = false, pressed }: IconButtonProps) {
  return (
    <button
      type="button"
      class="icon-button"
      onClick={pending ? undefined : onClick}
      disabled={disabled}
      aria-disabled={pending || undefined}
      aria-busy={pending || undefined}
      aria-pressed={pressed}
      aria-label={label}
      title={label}
    >
      {pending ? <Spinner /> : <Icon name={icon} filled={pressed} />}
    </button>
  );
}
