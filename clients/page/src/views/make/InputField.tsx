// One input of the workflow: the field for its kind, set back, or several values.
import { make as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { CheckField, LongTextField, NumberField, SelectField, TextField } from "../../ui/Field";
import { IconButton } from "../../ui/IconButton";
import { Combobox } from "./Combobox";
import { FileField } from "./FileField";
import { SWEEPS_MAX, sweep, write, writtenIn, type Change, type Form, type FormInput } from "./form";
import { SweepField } from "./SweepField";

export interface InputFieldProps {
  input: FormInput;
  form: Form;
  error?: string;
  /** What is around the text, if the character has a template. */
  around?: string;
  /** Whether a file that is pasted anywhere goes here. */
  takesPaste: boolean;
  change: Change;
}

/** Up to so many choices are shown as a plain list, without a search. */
const LIST_MAX = 12;

export function InputField(props: InputFieldProps) {
  const { input, form, error, change } = props;
  const lines = form.sweeps[input.name];
  const isChanged = form.values[input.name] !== undefined;
  const mayBeSwept = input.kind !== "file" && (lines !== undefined || Object.keys(form.sweeps).length < SWEEPS_MAX);
  const isWide = input.kind === "file" || input.kind === "text" || lines !== undefined;
  return (
    <div class={isWide ? "make-input make-input-wide" : "make-input"}>
      {lines === undefined ? (
        <OneValue {...props} />
      ) : (
        <SweepField input={input} lines={lines} error={error} onInput={(text) => change(sweep(form, input, text))} />
      )}
      <div class="make-input-tools">
        {mayBeSwept && (
          <Button
            kind="quiet"
            label={lines === undefined ? texts.severalOf(input.label) : texts.oneOf(input.label)}
            onClick={() => change(sweep(form, input, lines === undefined ? firstLines(form, input) : undefined))}
          >
            {lines === undefined ? texts.several : texts.one}
          </Button>
        )}
        {isChanged && lines === undefined && input.kind !== "file" && (
          <IconButton icon="retry" label={texts.reset(input.label)} onClick={() => change(write(form, input, undefined))} />
        )}
      </div>
    </div>
  );
}

/** A sweep begins with the value that is there. */
function firstLines(form: Form, input: FormInput): string {
  const value = writtenIn(form, input);
  if (typeof value === "boolean") return "true\nfalse";
  return typeof value === "string" ? value.replaceAll("\n", " ") : "";
}

function OneValue({ input, form, error, around, takesPaste, change }: InputFieldProps) {
  const { kind, label, choices = [], choices_left_out = 0, multiline } = input;
  const value = writtenIn(form, input);
  const hint = hintOf(input, around);
  const set = (next: string | boolean) => change(write(form, input, next));
  if (kind === "file") {
    const chosen = typeof value === "object" ? value : undefined;
    // Others may be written while a file is on its way.
    const onChoose = (file: typeof chosen) => change((now) => write(now, input, file));
    return <FileField {...{ input, chosen, error, hint, takesPaste, onChoose }} />;
  }
  if (kind === "bool") return <CheckField label={label} hint={hint} checked={value === true} onInput={set} />;
  const text = String(value);
  const common = { label, hint, error, value: text, onInput: set };
  if (kind === "choice" && choices.length > LIST_MAX) {
    const options = choices.map((choice) => ({ value: String(choice) }));
    return <Combobox {...common} options={options} leftOut={choices_left_out} placeholder={placeholder(input)} />;
  }
  if (kind === "choice") return <SelectField {...common} choices={listed(choices, text)} />;
  if (kind === "text") return multiline ? <LongTextField {...common} /> : <TextField {...common} />;
  const { min, max, step } = input;
  const limits = { min: min ?? undefined, max: max ?? undefined, step: kind === "int" ? 1 : "any" } as const;
  return <NumberField {...common} {...limits} step={step && !isOff(input, text) ? step : limits.step} placeholder={placeholder(input)} />;
}

/** Whether a number is between the steps of ComfyUI's own page: the browser would call it wrong. */
function isOff({ step, min }: FormInput, text: string): boolean {
  const steps = (Number(text) - (min ?? 0)) / (step ?? 1);
  return Math.abs(steps - Math.round(steps)) > 1e-6;
}

function placeholder({ shown }: FormInput): string | undefined {
  return typeof shown === "string" || typeof shown === "number" ? String(shown) : undefined;
}

/** The choices, and what stands there if it is none of them. */
function listed(choices: NonNullable<FormInput["choices"]>, text: string) {
  const values = choices.map(String);
  return (values.includes(text) ? values : [text, ...values]).map((value) => ({ value, text: value }));
}

function hintOf({ kind, min, max, tooltip, known, required }: FormInput, around?: string): string | undefined {
  const { range, atLeast, atMost } = texts;
  const low = typeof min === "number" ? String(min) : "";
  const high = typeof max === "number" && max < Number.MAX_SAFE_INTEGER ? String(max) : "";
  const isNumber = kind === "int" || kind === "float";
  const limits = isNumber && (low && high ? range(low, high) : low ? atLeast(low) : high && atMost(high));
  const parts = [required && texts.required, limits, around && texts.around(around), tooltip, !known && texts.unknownKind];
  return parts.filter(Boolean).join(" · ") || undefined;
}
