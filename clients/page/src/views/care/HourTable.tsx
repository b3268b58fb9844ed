import { care as texts } from "../../texts";
import { fineSpan } from "../../ui/spans";
import { hourName, rendered } from "./Chart";
import type { Hour } from "./LastDay";

/** The hours in which something happened, newest first. */
export function HourTable({ hours }: { hours: readonly Hour[] }) {
  const busy = hours.filter((hour) => hour.requested + hour.stored + hour.failed + hour.parked + rendered(hour) > 0);
  if (busy.length === 0) return <p class="muted">{texts.quiet}</p>;
  return (
    <details>
      <summary>{texts.asTable}</summary>
      <div class="care-scroll" tabIndex={0} role="region" aria-label={texts.asTable}>
        <table class="care-table">
          <thead>
            <tr>
              {texts.columns.map((title) => (
                <th key={title} scope="col">
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {[...busy].reverse().map((hour) => (
              <tr key={hour.at_ms}>
                <th scope="row">{hourName(hour)}</th>
                <td>{hour.requested}</td>
                <td>{rendered(hour)}</td>
                <td>{hour.stored}</td>
                <td>{hour.parked}</td>
                <td>{hour.failed}</td>
                <td>{wait(hour.wait_ms_median)}</td>
                <td>{wait(hour.wait_ms_p95)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function wait(ms: number | null | undefined): string {
  return ms == null ? "–" : fineSpan(ms);
}
