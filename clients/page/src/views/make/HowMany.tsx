// How many images, with which seed, and when and where they are rendered.
import { info } from "../../live";
import { make as texts } from "../../texts";
import { NumberField, SelectField, TextField } from "../../ui/Field";
import { IconButton } from "../../ui/IconButton";
import { combinations, type Change, type Form, type Ground } from "./form";
import type { Mistakes } from "./mistakes";

export interface HowManyProps {
  form: Form;
  ground: Ground;
  mistakes: Mistakes;
  hasSeed: boolean;
  change: Change;
}

/** As the daemon makes seeds up: people can read and type them. */
const ROLLED_MAX = 2 ** 31 - 1;
const PRIORITIES = ["low", "normal", "high"] as const;

export function HowMany({ form, ground, mistakes, hasSeed, change }: HowManyProps) {
  const most = ground.imagesPerPromptMax;
  return (
    <fieldset class="make-part">
      <legend>{texts.howMany}</legend>
      <div class="make-fields make-fields-short">
        <NumberField
          label={combinations(form) > 1 ? texts.quantityEach : texts.quantity}
          value={form.quantity}
          error={mistakes.quantity}
          min={1}
          onInput={(quantity) => change({ ...form, quantity })}
        />
        {most > 1 && (
          <NumberField
            label={texts.imagesPerPrompt}
            hint={texts.imagesPerPromptHint(most)}
            value={form.imagesPerPrompt}
            error={mistakes.imagesPerPrompt}
            min={1}
            max={most}
            onInput={(imagesPerPrompt) => change({ ...form, imagesPerPrompt })}
          />
        )}
        {hasSeed && <Seed form={form} ground={ground} mistakes={mistakes} change={change} />}
      </div>
    </fieldset>
  );
}

function Seed({ form, ground, mistakes, change }: Omit<HowManyProps, "hasSeed">) {
  const set = (seed: string) => change({ ...form, seed });
  return (
    <div class="make-seed">
      <TextField
        label={texts.seed}
        hint={ground.like ? texts.seedSame : texts.seedRandom}
        value={form.seed}
        error={mistakes.seed}
        autoComplete="off"
        onInput={set}
      />
      <IconButton icon="dice" label={texts.dice} onClick={() => set(String(rolled(ground.seedMin, ground.seedMax)))} />
    </div>
  );
}

function rolled(min: number, max: number): number {
  const high = Math.min(max, Math.max(min, ROLLED_MAX));
  return min + Math.floor(Math.random() * (high - min + 1));
}

export function Where({ form, mistakes, change }: Pick<HowManyProps, "form" | "mistakes" | "change">) {
  const backends = info.value?.backends ?? [];
  const any = { value: "", text: texts.anyBackend };
  const tags = [...new Set(backends.flatMap((backend) => backend.tags ?? []))];
  return (
    <details class="make-part" open={Boolean(form.backend || form.needs || mistakes.backend || mistakes.needs)}>
      <summary>{texts.where}</summary>
      <div class="make-fields make-fields-short">
        <SelectField
          label={texts.priority}
          value={form.priority}
          choices={PRIORITIES.map((value) => ({ value, text: texts.priorities[value] ?? value }))}
          onInput={(priority) => change({ ...form, priority: priority as Form["priority"] })}
        />
        <SelectField
          label={texts.backend}
          value={form.backend}
          choices={[any, ...backends.map(({ name }) => ({ value: name, text: name }))]}
          error={mistakes.backend}
          onInput={(backend) => change({ ...form, backend })}
        />
        <TextField
          label={texts.needs}
          hint={tags.length > 0 ? `${texts.needsHint} ${tags.join(", ")}` : texts.needsHint}
          value={form.needs}
          error={mistakes.needs}
          autoComplete="off"
          onInput={(needs) => change({ ...form, needs })}
        />
      </div>
    </details>
  );
}
