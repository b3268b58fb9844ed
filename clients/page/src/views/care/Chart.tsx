import { useState } from "preact/hooks";
import { care as texts } from "../../texts";
import { fineSpan } from "../../ui/spans";
import { backendsOf, type Hour } from "./LastDay";

const WIDTH = 720;
const HEIGHT = 160;
const COLOURS = 6;

/** Columns of images by ComfyUI, with failures on top. A slider below chooses the hour that is told in words. */
export function Chart({ hours }: { hours: readonly Hour[] }) {
  const [chosen, choose] = useState(hours.length - 1);
  const names = backendsOf(hours);
  const most = Math.max(1, ...hours.map(total));
  const step = WIDTH / hours.length;
  const at = Math.min(chosen, hours.length - 1);
  const hour = hours[at];
  return (
    <figure class="card chart">
      <p class="chart-scale small muted">{texts.scale(most)}</p>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={texts.chart(most)} preserveAspectRatio="none">
        {hours.map((one, index) => (
          <g key={one.at_ms} transform={`translate(${index * step} 0)`} onClick={() => choose(index)}>
            <rect class={index === at ? "chart-chosen" : "chart-ground"} width={step} height={HEIGHT} />
            <Column hour={one} names={names} most={most} width={step} />
          </g>
        ))}
        <Waits hours={hours} step={step} />
      </svg>
      <label class="row small">
        {texts.hour}
        <input
          type="range"
          min={0}
          max={hours.length - 1}
          value={at}
          aria-valuetext={hour && told(hour)}
          onInput={({ currentTarget }) => choose(Number(currentTarget.value))}
        />
      </label>
      <figcaption class="small">
        <p aria-live="polite">{hour && told(hour)}</p>
        <ul class="row chart-legend">
          {names.map((name, index) => (
            <li key={name}>
              <span class={`chart-key chart-${index % COLOURS}`} /> {name || texts.unknownBackend}
            </li>
          ))}
          <li>
            <span class="chart-key chart-failed" /> {texts.failed}
          </li>
          <li>
            <span class="chart-key chart-waits-key" /> {texts.waits}
          </li>
        </ul>
      </figcaption>
    </figure>
  );
}

/** The median waits as a line, on a scale of its own. */
function Waits({ hours, step }: { hours: readonly Hour[]; step: number }) {
  const longest = Math.max(1, ...hours.map(({ wait_ms_median }) => wait_ms_median ?? 0));
  const points = hours.flatMap(({ wait_ms_median }, index) =>
    wait_ms_median == null ? [] : [`${(index + 0.5) * step},${HEIGHT - 6 - (wait_ms_median / longest) * (HEIGHT - 12)}`],
  );
  return (
    <>
      <polyline class="chart-waits" points={points.join(" ")} />
      {points.map((point) => (
        <polyline key={point} class="chart-waits chart-dot" points={`${point} ${point}`} />
      ))}
    </>
  );
}

interface ColumnProps {
  hour: Hour;
  names: readonly string[];
  most: number;
  width: number;
}

function Column({ hour, names, most, width }: ColumnProps) {
  const parts: (readonly [number, string])[] = names.map((name, index) => [
    hour.backends?.[name] ?? 0,
    `chart-${index % COLOURS}`,
  ]);
  parts.push([hour.failed, "chart-failed"]);
  let top = HEIGHT;
  return (
    <>
      {parts.map(([count, kind], place) => {
        const height = (count / most) * (HEIGHT - 4);
        top -= height;
        return <rect key={place} class={kind} x={width * 0.1} y={top} width={width * 0.8} height={height} />;
      })}
    </>
  );
}

function total({ backends = {}, failed }: Hour): number {
  return rendered({ backends }) + failed;
}

export function rendered({ backends = {} }: Pick<Hour, "backends">): number {
  return Object.values(backends).reduce((sum, count) => sum + count, 0);
}

const HOUR = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });

export function hourName({ at_ms }: Hour): string {
  return HOUR.format(at_ms);
}

function told(hour: Hour): string {
  const { failed, parked, wait_ms_median } = hour;
  const wait = wait_ms_median == null ? "" : texts.waited(fineSpan(wait_ms_median));
  return texts.told(hourName(hour), rendered(hour), failed, parked, wait);
}
