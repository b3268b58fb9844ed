// The boxes of the fleet, if there is one: who takes part, and who is not waited for any more.
import { ask, info, refreshInfo, type Info } from "../../live";
import { may } from "../../session/session";
import { now as texts } from "../../texts";
import { useAction } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { Time } from "../../ui/Time";

type Box = NonNullable<Info["boxes"]>[number];

const TAGS: Record<Box["state"], string> = {
  present: "tag-good",
  silent: "tag-wait",
  left: "tag-bad",
  given_up: "tag-wait",
};

export function Boxes() {
  const boxes = info.value?.boxes ?? [];
  if (boxes.length === 0) return null;
  return (
    <section class="stack" aria-labelledby="boxes">
      <h2 id="boxes">{texts.boxes}</h2>
      {boxes.map((box) => (
        <BoxCard key={box.name} box={box} />
      ))}
    </section>
  );
}

function BoxCard({ box }: { box: Box }) {
  const { name, state, since_ms, own, heard_s, behind } = box;
  return (
    <article class="card lane" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <span class={`tag ${TAGS[state]}`}>{texts.boxStates[state]}</span>
      </header>
      <p class="small muted">
        {texts.since} <Time atMs={since_ms} />
        {own ? ` · ${texts.ownBox}` : ""}
        {!own && heard_s != null ? ` · ${texts.heard(Math.round(heard_s))}` : ""}
        {behind ? ` · ${texts.behind(behind)}` : ""}
      </p>
      {state === "left" && (
        <span class="batch-actions">
          <GiveUp name={name} />
        </span>
      )}
    </article>
  );
}

/** Has what only this box keeps rendered again, instead of waiting for it. */
function GiveUp({ name }: { name: string }) {
  const { run, pending } = useAction(
    async () => {
      await ask("give_up_box", { name });
      refreshInfo();
      return { text: texts.done.givenUp(name) };
    },
    {
      question: () => ({
        title: texts.ask.giveUpTitle(name),
        consequences: [texts.ask.giveUpText, texts.ask.giveUpReturns],
        confirm: texts.giveUp,
      }),
    },
  );
  if (!may("operate")) return null;
  return (
    <Button onClick={() => void run()} pending={pending.value} label={`${texts.giveUp}: ${name}`}>
      {texts.giveUp}
    </Button>
  );
}
