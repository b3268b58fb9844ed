import { useState } from "preact/hooks";
import { FILTER_NAMES, type Filter, type FilterName } from "../../live/image_filter";
import { go, href } from "../../route";
import { gallery as texts, states } from "../../texts";
import { Button } from "../../ui/Button";
import { Field, SelectField, type Choice } from "../../ui/Field";
import { IconButton } from "../../ui/IconButton";
import { useChoices, type Counted } from "./choices";

const WIDE = "(min-width: 40rem)";
const VERDICTS = ["approved", "rejected", "none"] as const;
const MEDIA = ["image", "video", "audio", "model", "file"] as const;
const RATINGS = [1, 2, 3, 4, 5] as const;
const ALL: Choice = { value: "", text: texts.all };

/** Chooses images. Every choice changes the address, so that the back button takes it back. */
export function Filters({ filter }: { filter: Filter }) {
  const [isOpen, setOpen] = useState(() => matchMedia(WIDE).matches);
  const set = (name: FilterName, value: string) => go(href("gallery", [], { ...filter, [name]: value }));
  return (
    <section class="filters" aria-label={texts.filters}>
      <div class="row">
        <Button icon="search" kind="quiet" pressed={isOpen} onClick={() => setOpen(!isOpen)}>
          {texts.filters}
        </Button>
        <Chips filter={filter} set={set} />
      </div>
      {isOpen && <Fields filter={filter} set={set} />}
    </section>
  );
}

interface PartProps {
  filter: Filter;
  set: (name: FilterName, value: string) => void;
}

/** What is chosen, each with a button that takes it back. */
function Chips({ filter, set }: PartProps) {
  const names = FILTER_NAMES.filter((name) => filter[name]);
  return (
    <ul class="row">
      {names.map((name) => (
        <li key={name} class="chip">
          {texts.chip(texts.names[name], said(name, filter[name] ?? ""))}
          <IconButton icon="close" label={texts.without(texts.names[name])} onClick={() => set(name, "")} />
        </li>
      ))}
    </ul>
  );
}

function Fields({ filter, set }: PartProps) {
  const one = (name: FilterName, choices: readonly Choice[]) => (
    <SelectField
      label={texts.names[name]}
      value={filter[name] ?? ""}
      choices={[ALL, ...choices]}
      onInput={(value) => set(name, value)}
    />
  );
  return (
    <div class="filter-fields">
      <CountedField name="user" filter={filter} set={set} />
      <CountedField name="character" filter={filter} set={set} />
      <CountedField name="workflow" filter={filter} set={set} />
      {one("state", Object.entries(states).map(([value, text]) => ({ value, text })))}
      {one("verdict", VERDICTS.map((value) => ({ value, text: texts.verdicts[value] })))}
      {one("rating", RATINGS.map((stars) => ({ value: String(stars), text: texts.ratingFrom(stars) })))}
      {one("medium", MEDIA.map((value) => ({ value, text: texts.media[value] })))}
      <Day name="since" filter={filter} set={set} />
      <Day name="until" filter={filter} set={set} />
    </div>
  );
}

/** A chooser that knows what there is. */
function CountedField({ name, filter, set }: PartProps & { name: Counted }) {
  const value = filter[name] ?? "";
  const found = (useChoices(name, filter).value ?? []).filter((group) => group.value !== "");
  const choices = found.map(({ value, count }) => ({ value, text: texts.choice(value, count) }));
  const isKnown = value === "" || found.some((group) => group.value === value);
  const own = isKnown ? [] : [{ value, text: value }];
  return (
    <SelectField
      label={texts.names[name]}
      value={value}
      choices={[ALL, ...own, ...choices]}
      onInput={(next) => set(name, next)}
    />
  );
}

function Day({ name, filter, set }: PartProps & { name: "since" | "until" }) {
  return (
    <Field label={texts.names[name]}>
      {(ids) => (
        <input {...ids} type="date" value={filter[name] ?? ""} onChange={({ currentTarget }) => set(name, currentTarget.value)} />
      )}
    </Field>
  );
}

/** A value in the words of the choosers. */
function said(name: FilterName, value: string): string {
  if (name === "state") return states[value] ?? value;
  if (name === "verdict" || name === "medium") return { ...texts.verdicts, ...texts.media }[value as "none"] ?? value;
  if (name === "code") return value.replaceAll("_", " ");
  return name === "rating" ? texts.ratingFrom(Number(value)) : value;
}
