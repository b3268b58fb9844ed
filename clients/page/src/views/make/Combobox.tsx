// A text field with a list of what fits: any text may be written, and the list is searched as one writes.
import { useId, useRef, useState } from "preact/hooks";
import { make as texts } from "../../texts";
import { Field } from "../../ui/Field";

export interface Option {
  value: string;
  /** More about it, behind its name. */
  detail?: string;
}

export interface ComboboxProps {
  label: string;
  value: string;
  options: readonly Option[];
  onInput: (value: string) => void;
  hint?: string;
  error?: string;
  /** How many more options there are than `options` has. */
  leftOut?: number;
  placeholder?: string;
}

const SHOWN_MAX = 50;

export function Combobox({ label, value, options, onInput, hint, error, leftOut = 0, placeholder }: ComboboxProps) {
  const [isOpen, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const [isSearch, setSearch] = useState(false);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const fitting = isSearch ? options.filter((option) => fits(option, value)) : options;
  const shown = fitting.slice(0, SHOWN_MAX);
  const hasList = isOpen && options.length > 0;

  const close = () => (setOpen(false), setAt(-1), setSearch(false));
  const choose = (option: Option) => (onInput(option.value), close());
  const move = (to: number) => {
    setOpen(true);
    setAt(to);
    list.current?.children[to]?.scrollIntoView({ block: "nearest" });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const option = shown[at];
    if (event.key === "ArrowDown") move(Math.min(at + 1, shown.length - 1));
    else if (event.key === "ArrowUp") move(Math.max(at - 1, -1));
    else if (event.key === "Enter" && hasList && option) choose(option);
    else if (event.key === "Escape" && isOpen) close();
    else return;
    event.preventDefault();
  };
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => (
        <div class="combobox">
          <input
            {...ids}
            type="text"
            role="combobox"
            autoComplete="off"
            spellcheck={false}
            placeholder={placeholder}
            aria-expanded={hasList}
            aria-controls={`${id}-list`}
            aria-autocomplete="list"
            aria-activedescendant={hasList && at >= 0 ? `${id}-${at}` : undefined}
            value={value}
            onInput={(event) => {
              onInput(event.currentTarget.value);
              setOpen(true);
              setSearch(true);
              setAt(-1);
            }}
            onClick={() => setOpen(true)}
            onBlur={close}
            onKeyDown={onKeyDown}
          />
          <div class="combobox-drop" hidden={!hasList}>
            <ul id={`${id}-list`} ref={list} role="listbox" aria-label={label}>
              {shown.map((option, place) => (
                <Entry
                  key={option.value}
                  id={`${id}-${place}`}
                  option={option}
                  isAt={place === at}
                  onChoose={() => choose(option)}
                />
              ))}
            </ul>
            <Rest shown={shown.length} fitting={fitting.length} leftOut={leftOut} />
          </div>
        </div>
      )}
    </Field>
  );
}

interface EntryProps {
  id: string;
  option: Option;
  isAt: boolean;
  onChoose: () => void;
}

/** The field keeps the focus at a press of the mouse, or its blur would close the list first. */
function Entry({ id, option: { value, detail }, isAt, onChoose }: EntryProps) {
  return (
    <li
      id={id}
      role="option"
      class="combobox-option"
      aria-selected={isAt}
      onMouseDown={(event) => event.preventDefault()}
      onClick={onChoose}
    >
      <span>{value}</span>
      {detail && <span class="muted small">{detail}</span>}
    </li>
  );
}

function Rest({ shown, fitting, leftOut }: { shown: number; fitting: number; leftOut: number }) {
  if (fitting === 0) return <p class="combobox-rest">{texts.options.none}</p>;
  if (fitting > shown) return <p class="combobox-rest">{texts.options.more(fitting - shown)}</p>;
  return leftOut > 0 ? <p class="combobox-rest">{texts.options.leftOut(leftOut)}</p> : null;
}

/** Every word that was written is in the name or in what is said of it. */
function fits({ value, detail = "" }: Option, written: string): boolean {
  const text = `${value} ${detail}`.toLowerCase();
  return written.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
