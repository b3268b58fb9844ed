import { useSignal } from "@preact/signals";
import type { Answer } from "comfyledger";
import { useEffect } from "preact/hooks";
import { ask, info } from "../../live";
import type { Batch } from "../../live/batches";
import { now as texts } from "../../texts";
import { Advice } from "../../ui/Advice";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { may } from "../../session/session";
import { PauseButton } from "./PauseButton";

type OwedInfo = Answer<"explain">["owed"][number];
type Asked = { owed: readonly OwedInfo[] } | { problem: unknown };

/** Why a batch waits, in the daemon's words; asked again when the batch or what is paused changes. */
export function Owed({ batch }: { batch: Batch }) {
  const asked = useSignal<Asked | undefined>(undefined);
  const paused = info.value?.lanes.map(({ lane, code }) => `${lane} ${code ?? ""}`).join();
  useEffect(() => {
    const over = new AbortController();
    ask("explain", { what: batch.batch_id }, { signal: over.signal }).then(
      ({ owed }) => (asked.value = { owed }),
      (problem: unknown) => over.signal.aborted || (asked.value = { problem }),
    );
    return () => over.abort();
  }, [batch, paused]);
  return (
    <section class="owed" aria-label={texts.whyTitle}>
      <Answered asked={asked.value} />
      {may("operate") && !isUserPaused(asked.value) && (
        <PauseButton
          scope={`user:${batch.username}`}
          name={texts.users(batch.username)}
          pause={texts.pauseUser(batch.username)}
          isPaused={false}
        />
      )}
    </section>
  );
}

function isUserPaused(asked: Asked | undefined): boolean {
  return asked !== undefined && "owed" in asked && asked.owed.some(({ lane }) => lane?.startsWith("user/"));
}

function Answered({ asked }: { asked: Asked | undefined }) {
  if (asked === undefined) return <Spinner told />;
  if ("problem" in asked) return <Problem error={asked.problem} />;
  if (asked.owed.length === 0) return <p>{texts.nothingOwed}</p>;
  return (
    <ul class="stack">
      {asked.owed.map((owed) => (
        <Line key={`${owed.what} ${owed.code} ${owed.lane ?? ""} ${owed.text}`} owed={owed} />
      ))}
    </ul>
  );
}

function Line({ owed }: { owed: OwedInfo }) {
  const { text, command, since_ms, images } = owed;
  return (
    <li>
      <p>
        <Words text={text} />
      </p>
      <p class="row small muted">
        {images && images.length > 0 && <span>{texts.ofImages(images)}</span>}
        {since_ms ? (
          <span>
            {texts.since} <Time atMs={since_ms} />
          </span>
        ) : null}
      </p>
      {command && <Advice command={command} />}
    </li>
  );
}
