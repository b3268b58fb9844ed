// The story of an image, a batch or a number: what happened, how long it took, what is still to be done and what helps.
import { useSignal, type Signal } from "@preact/signals";
import type { RequestData } from "comfyledger";
import { useEffect } from "preact/hooks";
import { ask, onBegin, onEvent } from "../../live";
import { refresher } from "../../live/refresh";
import { go, href, route } from "../../route";
import { story as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { Page } from "../../ui/Page";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { TextField } from "../../ui/Field";
import type { Explained } from "./events";
import { Told } from "./Told";

const PAUSE_MS = 1_000;

/** An image or a batch; or a number, with its user and character. */
type Subject = RequestData<"explain">;

type Asked = { answer: Explained } | { problem: unknown } | undefined;

export function StoryView() {
  const what = route.value.path.join("/");
  if (what === "") {
    return (
      <Page title={texts.title}>
        <Which />
      </Page>
    );
  }
  const { query } = route.value;
  const username = query.get("user") ?? undefined;
  const character = query.get("character") ?? undefined;
  return <Story key={`${what} ${username} ${character}`} subject={{ what, username, character }} />;
}

function Which() {
  const typed = useSignal("");
  const tell = (event: Event) => {
    event.preventDefault();
    const words = typed.value.trim();
    if (words) go(href("story", words.split("/")));
  };
  return (
    <form class="story-which" onSubmit={tell}>
      <TextField
        label={texts.ask}
        hint={texts.askHint}
        value={typed.value}
        onInput={(value: string) => (typed.value = value)}
      />
      <Button kind="main" type="submit">
        {texts.tell}
      </Button>
    </form>
  );
}

function Story({ subject }: { subject: Subject }) {
  const asked = useSignal<Asked>(undefined);
  const again = useExplained(subject, asked);
  const { value } = asked;
  if (value === undefined) {
    return (
      <Page title={texts.title}>
        <Spinner told />
      </Page>
    );
  }
  if ("problem" in value) {
    return (
      <Page title={texts.title}>
        <div class="stack">
          <Problem error={value.problem} />
          <Which />
        </div>
      </Page>
    );
  }
  return (
    <Page title={titleOf(value.answer)}>
      <Told answer={value.answer} onChange={again} />
    </Page>
  );
}

/** Asks, and asks again when something happens to the same batch. Gives a function that asks soon. */
function useExplained(subject: Subject, asked: Signal<Asked>): () => void {
  const again = useSignal<() => void>(() => undefined);
  useEffect(() => {
    let isOver = false;
    const look = refresher(async () => {
      const found: Asked = await ask("explain", subject).then(
        (answer) => ({ answer }),
        (problem: unknown) => ({ problem }),
      );
      if (!isOver) asked.value = found;
    }, PAUSE_MS);
    again.value = look;
    look();
    const ends = [
      onBegin(look),
      onEvent(({ stream }) => (stream === batchOf(asked.peek()) || stream.startsWith("lane/")) && look()),
    ];
    return () => {
      isOver = true;
      for (const end of ends) end();
    };
  }, [subject.what, subject.username, subject.character]);
  return () => again.peek()();
}

function batchOf(asked: Asked): string | undefined {
  return asked && "answer" in asked ? asked.answer.batch?.batch_id : undefined;
}

function titleOf({ image, batch, number = 0, subject }: Explained): string {
  if (subject === "image" && image) return texts.ofImage(image.name);
  if (batch) return texts.ofBatch(batch.character, batch.username);
  return texts.ofNumber(number);
}
