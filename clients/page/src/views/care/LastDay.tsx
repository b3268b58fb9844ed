// The last day as a chart: images an hour by ComfyUI, failures and waits. A table says the same.
import type { Answer } from "comfyledger";
import { ask } from "../../live";
import { care as texts } from "../../texts";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { useAnswer } from "./answered";
import { Chart } from "./Chart";
import { HourTable } from "./HourTable";

export type Hour = Answer<"activity">["buckets"][number];


export function LastDay() {
  const { value, problem } = useAnswer(() => ask("activity", {}), "activity", ({ kind }) => kind === "batch_settled");
  return (
    <section class="stack" aria-labelledby="day">
      <h2 id="day">{texts.day}</h2>
      {value === undefined && (problem === undefined ? <Spinner told /> : <Problem error={problem} />)}
      {value && value.buckets.length > 0 && <Chart hours={value.buckets} />}
      {value?.more && <p class="small muted">{texts.dayMore}</p>}
      {value && <HourTable hours={value.buckets} />}
    </section>
  );
}

/** The ComfyUIs that rendered something, by name: their places are their colours. */
export function backendsOf(hours: readonly Hour[]): string[] {
  return [...new Set(hours.flatMap(({ backends = {} }) => Object.keys(backends)))].sort();
}
