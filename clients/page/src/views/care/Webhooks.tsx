// Webhooks and their deliveries.
import type { Answer } from "comfyledger";
import { ask, info } from "../../live";
import { care as texts } from "../../texts";
import { useAction } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import { Time } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { PauseButton } from "../now/PauseButton";
import { useAnswer } from "./answered";

type Webhook = Answer<"list_webhooks">["webhooks"][number];

const DAY_MS = 86_400_000;

export function Webhooks() {
  const states = (info.value?.webhooks ?? []).map(({ name, state, behind }) => `${name} ${state} ${behind ?? 0}`);
  const { value, problem } = useAnswer(() => ask("list_webhooks", {}), states.join());
  const shown = value?.webhooks ?? info.value?.webhooks;
  return (
    <section class="stack" aria-labelledby="webhooks">
      <h2 id="webhooks">{texts.webhooks}</h2>
      {problem !== undefined && <Problem error={problem} />}
      {shown?.length === 0 && <p class="muted">{texts.noWebhooks}</p>}
      {shown?.map((webhook) => <WebhookCard key={webhook.name} webhook={webhook} />)}
    </section>
  );
}

function WebhookCard({ webhook }: { webhook: Webhook }) {
  const { name, url, state, behind = 0, owed = 0, delivered_ms, next_ms, text } = webhook;
  const isPaused = state === "paused" || state === "gone" || state === "dead";
  return (
    <article class="card lane" aria-label={name}>
      <header class="batch-head">
        <h3>{name}</h3>
        <span class={`tag ${state === "working" ? "tag-good" : isPaused ? "tag-wait" : "tag-bad"}`}>
          {texts.webhookStates[state] ?? state}
        </span>
      </header>
      <p class="small muted care-long">{url}</p>
      {text && (
        <p class="note">
          <Words text={text} />
        </p>
      )}
      <p class="row small">
        <span>{texts.behind(behind)}</span>
        {owed > 0 && <span>{texts.putAside(owed)}</span>}
        {delivered_ms ? (
          <span>
            {texts.delivered} <Time atMs={delivered_ms} />
          </span>
        ) : null}
        {next_ms ? (
          <span>
            {texts.nextTry} <Time atMs={next_ms} />
          </span>
        ) : null}
      </p>
      <WebhookButtons name={name} isPaused={isPaused} />
    </article>
  );
}

function WebhookButtons({ name, isPaused }: { name: string; isPaused: boolean }) {
  const testing = useAction(async () => {
    const { taken, took_s, text } = await ask("test_webhook", { name });
    return { text: taken ? texts.tested(name, took_s) : texts.notTaken(name, text ?? "") };
  });
  const replaying = useAction(
    async () => ({ text: texts.replayed((await ask("replay_webhook", { name, since_ms: Date.now() - DAY_MS })).events) }),
    { question: () => ({ title: texts.replayTitle(name), consequences: texts.replayText, confirm: texts.replay }) },
  );
  return (
    <span class="batch-actions">
      <Button onClick={() => void testing.run()} pending={testing.pending.value} label={`${texts.test}: ${name}`}>
        {texts.test}
      </Button>
      <Button onClick={() => void replaying.run()} pending={replaying.pending.value} label={`${texts.replay}: ${name}`}>
        {texts.replay}
      </Button>
      <PauseButton scope={`webhook:${name}`} name={name} isPaused={isPaused} />
    </span>
  );
}
