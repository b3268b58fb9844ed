import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "./Icon";
import { Spinner } from "./Spinner";

export interface ButtonProps {
  children: ComponentChildren;
  onClick?: () => void;
  icon?: IconName;
  /** `main` is the one action that most people want; `danger` ends or erases something. */
  kind?: "plain" | "main" | "danger" | "quiet";
  type?: "button" | "submit";
  disabled?: boolean;
  /** An action of the button is under way: it shows so and takes no further click. */
  pending?: boolean;
  /** For a button that stays pressed. */
  pressed?: boolean;
  /** For a button that shows and hides something. */
  expanded?: boolean;
  /** More words for screen readers than the button shows: "Pause store folder". */
  label?: string;
  title?: string;
}

export function Button({ children, onClick, icon, kind = "plain", type = "button", ...rest }: ButtonProps) {
  const { disabled, pending = false, pressed, expanded, label, title } = rest;
  return (
    <button
      type={type}
      class={`button button-${kind}`}
      // A pending button keeps the focus: `disabled` would lose it.
      onClick={pending ? undefined : onClick}
      disabled={disabled}
      aria-disabled={pending || undefined}
      aria-busy={pending || undefined}
      aria-pressed={pressed}
      aria-expanded={expanded}
      aria-label={label}
      title={title}
    >
      {pending ? <Spinner /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
