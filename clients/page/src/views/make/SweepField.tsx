// Several values of one input: chosen from its list, or one a line.
import { useId, useState } from "preact/hooks";
import { make as texts } from "../../texts";
import { LongTextField, TextField } from "../../ui/Field";
import { linesOf, type FormInput } from "./form";

export interface SweepFieldProps {
  input: FormInput;
  lines: string;
  error?: string;
  onInput: (lines: string) => void;
}

const LINES_MAX = 8;
const SHOWN_MAX = 60;

export function SweepField(props: SweepFieldProps) {
  const { input, lines, error, onInput } = props;
  if (input.kind === "choice" || input.kind === "bool") return <Chosen {...props} />;
  const rows = Math.min(LINES_MAX, Math.max(2, lines.split("\n").length + 1));
  return (
    <LongTextField label={input.label} hint={texts.perLine} error={error} value={lines} onInput={onInput} rows={rows} />
  );
}

/** The order is that of the list. */
function Chosen({ input, lines, error, onInput }: SweepFieldProps) {
  const id = useId();
  const [search, setSearch] = useState("");
  const values = input.kind === "bool" ? ["true", "false"] : (input.choices ?? []).map(String);
  const chosen = new Set(linesOf(lines));
  const fitting = values.filter((value) => chosen.has(value) || value.toLowerCase().includes(search.toLowerCase()));
  const toggle = (value: string) => {
    if (!chosen.delete(value)) chosen.add(value);
    onInput(values.filter((one) => chosen.has(one)).join("\n"));
  };
  return (
    <fieldset class="field make-several" aria-describedby={error ? `${id}-error` : undefined}>
      <legend class="field-label">{input.label}</legend>
      <p class="field-hint">{texts.chooseSeveral}</p>
      {values.length > LINES_MAX && (
        <TextField label={texts.search} type="search" value={search} onInput={setSearch} />
      )}
      <div class="make-several-list">
        {fitting.slice(0, SHOWN_MAX).map((value) => (
          <label key={value} class="make-several-one">
            <input type="checkbox" checked={chosen.has(value)} onInput={() => toggle(value)} />
            {value}
          </label>
        ))}
      </div>
      {fitting.length > SHOWN_MAX && <p class="field-hint">{texts.options.more(fitting.length - SHOWN_MAX)}</p>}
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </fieldset>
  );
}
