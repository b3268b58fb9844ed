import { ask, info, refreshInfo, type Info } from "../../live";
import { may } from "../../session/session";
import { now as texts } from "../../texts";
import { useAction } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { Words } from "../../ui/Words";
import { isTriable, laneOf } from "./lanes";
import { PauseButton } from "./PauseButton";
import { TryButton } from "./TryButton";

type Backend = Info["backends"][number];

const TAGS: Record<string, string> = { connected: "tag-good", away: "tag-bad", draining: "tag-wait", paused: "tag-wait" };

export function Backends() {
  const backends = info.value?.backends;
  if (backends === undefined) return null;
  return (
    <section class="stack" aria-labelledby="backends">
      <h2 id="backends">{texts.backends}</h2>
      {backends.length === 0 && <p class="muted">{texts.noBackends}</p>}
      {backends.map((backend) => (
        <BackendCard key={backend.name} backend={backend} />
      ))}
    </section>
  );
}

function BackendCard({ backend }: { backend: Backend }) {
  const { name, problem, work } = backend;
  const state = backend.state ?? (backend.connected ? "connected" : "away");
  return (
    <article class="card lane" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <span class={`tag ${TAGS[state] ?? ""}`}>{texts.states[state] ?? state}</span>
      </header>
      {problem && (
        <p class="note">
          <Words text={problem} />
        </p>
      )}
      {texts.stateHints[state] && <p class="small muted">{texts.stateHints[state]}</p>}
      {work && <Work backend={backend} />}
      <span class="batch-actions">
        {isTriable(laneOf("backend", name)) && <TryButton scope={`backend:${name}`} name={name} />}
        <PauseButton
          scope={`backend:${name}`}
          name={name}
          isPaused={state === "draining" || state === "paused"}
          title={texts.drainHint}
          told={texts.drained}
        />
        {work && state !== "connected" && <Move name={name} prompts={(work.running ?? 0) + (work.waiting ?? 0)} />}
      </span>
    </article>
  );
}

function Work({ backend }: { backend: Backend }) {
  const { work, warm } = backend;
  if (!work) return null;
  const { running = 0, waiting = 0, places, images_per_hour = 0, busy_s = 0 } = work;
  const share = Math.min(1, busy_s / Math.max(info.value?.uptime_s ?? 0, 1));
  return (
    <dl class="facts small">
      <Fact name={texts.backendWork.running} text={texts.places(running, places)} />
      <Fact name={texts.backendWork.waiting} text={String(waiting)} />
      <Fact name={texts.backendWork.perHour} text={Math.round(images_per_hour).toLocaleString()} isWide />
      <Fact name={texts.backendWork.busy} text={texts.percent(share)} isWide />
      <Fact name={texts.warm} text={warm && warm.length > 0 ? warm.join(", ") : texts.notWarm} isWide />
    </dl>
  );
}

function Fact({ name, text, isWide = false }: { name: string; text: string; isWide?: boolean }) {
  return (
    <div class={isWide ? "fact fact-wide" : "fact"}>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  );
}

/** Leaves behind what a ComfyUI has, so that others render it. */
function Move({ name, prompts }: { name: string; prompts: number }) {
  const { run, pending } = useAction(
    async () => {
      await ask("move", { scope: `backend:${name}` });
      refreshInfo();
      return { text: texts.done.moved(name) };
    },
    {
      question: () => ({
        title: texts.ask.moveTitle(name),
        consequences: [texts.ask.moveText(prompts), texts.ask.moveMay],
        confirm: texts.ask.moveConfirm,
      }),
    },
  );
  if (!may("operate") || prompts === 0) return null;
  return (
    <Button onClick={() => void run()} pending={pending.value} label={`${texts.move}: ${name}`}>
      {texts.move}
    </Button>
  );
}
