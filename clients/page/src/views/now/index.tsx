// What is being made at this moment, what it waits for, and the means to steer it.
import { info } from "../../live";
import { useOpenBatches } from "../../live/batches";
import { useProgress } from "../../live/progress";
import { now as texts } from "../../texts";
import { Page } from "../../ui/Page";
import { Backends } from "./Backends";
import { Batches } from "./Batches";
import { Boxes } from "./Boxes";
import { Others } from "./Others";
import { PauseButton } from "./PauseButton";
import { Stores } from "./Stores";

export function NowView() {
  useOpenBatches();
  useProgress();
  const isPaused = info.value?.lanes.some(({ lane }) => lane === "everything") ?? false;
  return (
    <Page title={texts.title} aside={info.value && <PauseAll isPaused={isPaused} />}>
      {isPaused && (
        <p class="card note">
          <strong>{texts.pausedAll}</strong> {texts.pausedAllText}
        </p>
      )}
      <div class="now">
        <div class="stack now-batches">
          <Batches />
        </div>
        <div class="stack now-side">
          <Backends />
          <Boxes />
          <Stores />
          <Others />
        </div>
      </div>
    </Page>
  );
}

function PauseAll({ isPaused }: { isPaused: boolean }) {
  return (
    <PauseButton
      scope="everything"
      name={texts.everything}
      isPaused={isPaused}
      pause={texts.pauseAll}
      resume={texts.resumeAll}
      question={() => ({
        title: texts.ask.pauseAllTitle,
        consequences: [texts.ask.pauseAllText, texts.ask.pauseAllStays],
        confirm: texts.pauseAll,
      })}
    />
  );
}
