// Fields of forms. Each has a label, an optional hint, and an error that screen readers connect with it.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface Described {
  label: string;
  hint?: string;
  /** What is wrong with the value. */
  error?: string;
}

interface Ids {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": boolean | undefined;
}

type FieldProps = Described & { children: (ids: Ids) => ComponentChildren };

/** The frame of a field: give the ids to the element that takes the value. */
export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div class={error ? "field field-wrong" : "field"}>
      <label class="field-label" for={id}>
        {label}
      </label>
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": error ? true : undefined })}
      {hint && (
        <p class="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

/** What else an input may have. */
interface Inputs {
  name?: string;
  placeholder?: string;
  autoComplete?: string;
  list?: string;
  required?: boolean;
  disabled?: boolean;
  readOnly?: boolean;
  spellcheck?: boolean;
  maxLength?: number;
  min?: number | string;
  max?: number | string;
  step?: number | string;
  onKeyDown?: (event: KeyboardEvent) => void;
  onBlur?: () => void;
}

export type TextFieldProps = Described &
  Inputs & { value: string; onInput: (value: string) => void; type?: "text" | "password" | "search" };

export function TextField({ label, hint, error, value, onInput, type = "text", ...rest }: TextFieldProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => <input {...rest} {...ids} type={type as "text"} value={value} onInput={(event) => onInput(event.currentTarget.value)} />}
    </Field>
  );
}

export type LongTextFieldProps = Described & { value: string; onInput: (value: string) => void; rows?: number };

export function LongTextField({ label, hint, error, value, onInput, rows = 3 }: LongTextFieldProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => <textarea {...ids} rows={rows} value={value} onInput={(event) => onInput(event.currentTarget.value)} />}
    </Field>
  );
}

/** `value` is what is written, so that an empty or unfinished number stays visible. */
export type NumberFieldProps = Described & Inputs & { value: string; onInput: (value: string) => void };

export function NumberField({ label, hint, error, value, onInput, ...rest }: NumberFieldProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => <input {...rest} {...ids} type="number" value={value} onInput={(event) => onInput(event.currentTarget.value)} />}
    </Field>
  );
}

export interface Choice {
  value: string;
  text: string;
}

export type SelectFieldProps = Described & {
  value: string;
  choices: readonly Choice[];
  onInput: (value: string) => void;
  disabled?: boolean;
};

export function SelectField({ label, hint, error, value, choices, onInput, disabled }: SelectFieldProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => (
        <select {...ids} value={value} disabled={disabled} onChange={(event) => onInput(event.currentTarget.value)}>
          {choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export type CheckFieldProps = Described & { checked: boolean; onInput: (checked: boolean) => void };

/** Its label stands behind the box. */
export function CheckField({ label, hint, checked, onInput }: CheckFieldProps) {
  const id = useId();
  return (
    <div class="field field-check">
      <input
        id={id}
        type="checkbox"
        checked={checked}
        aria-describedby={hint ? `${id}-hint` : undefined}
        onInput={(event) => onInput(event.currentTarget.checked)}
      />
      <label for={id}>{label}</label>
      {hint && (
        <p class="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}
