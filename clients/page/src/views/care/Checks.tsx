// What `audit` and `doctor` found last, and how long ago that was.
import type { Answer } from "comfyledger";
import { ask } from "../../live";
import { care as texts } from "../../texts";
import { Copy } from "../../ui/Copy";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { useAnswer } from "./answered";

type Check = Answer<"list_checks">["checks"][number];

const COMMANDS = { audit: "comfyledger audit", doctor: "comfyledger doctor" } as const;

export function Checks() {
  const { value, problem } = useAnswer(() => ask("list_checks", {}), "");
  return (
    <section class="stack" aria-labelledby="checks">
      <h2 id="checks">{texts.checks}</h2>
      {value === undefined && (problem === undefined ? <Spinner told /> : <Problem error={problem} />)}
      {value &&
        (["audit", "doctor"] as const).map((kind) => (
          <CheckCard key={kind} kind={kind} check={value.checks.find((one) => one.kind === kind)} />
        ))}
    </section>
  );
}

function CheckCard({ kind, check }: { kind: "audit" | "doctor"; check: Check | undefined }) {
  const command = check?.command ?? COMMANDS[kind];
  const findings = (check?.findings ?? []).filter(({ level }) => level !== "ok");
  return (
    <article class="card lane" aria-label={texts.kinds[kind]}>
      <header class="batch-head">
        <h3>{texts.kinds[kind]}</h3>
        {check && <span class={`tag ${check.ok ? "tag-good" : "tag-bad"}`}>{check.ok ? texts.whole : texts.broken}</span>}
      </header>
      <p class="small muted">
        {texts.about[kind]} {check ? <Time atMs={check.at_ms} /> : texts.never}
      </p>
      {findings.map(({ level, text, hint }) => (
        <div key={text} class={level === "failure" ? "note note-bad" : "note"}>
          <p>
            <strong>{texts.levels[level]}</strong> <Words text={text} />
          </p>
          {hint && (
            <p class="small">
              {texts.fix} <Words text={hint} />
            </p>
          )}
        </div>
      ))}
      <p class="row small">
        {check ? texts.runAgain : texts.runFirst} <code>{command}</code>
        <Copy text={command} />
      </p>
    </article>
  );
}
