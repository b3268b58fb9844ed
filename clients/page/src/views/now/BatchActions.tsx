import { ask } from "../../live";
import { refreshBatches, type Batch } from "../../live/batches";
import { mayChange } from "../../session/session";
import { now as texts } from "../../texts";
import { useAction, type Done } from "../../ui/actions";
import { Button } from "../../ui/Button";
import { PauseButton } from "./PauseButton";

/** What one can do with a batch. Buttons that the session has no right for are not there. */
export function BatchActions({ batch, name }: { batch: Batch; name: string }) {
  const isOpen = batch.status === "open" || batch.status === "held";
  const isMine = mayChange(batch.label);
  return (
    <span class="batch-actions">
      {isOpen && isMine && <PriorityChoice batch={batch} name={name} />}
      {isOpen && <PauseButton scope={`batch:${batch.batch_id}`} name={name} isPaused={batch.status === "held"} />}
      {isMine && batch.failed + batch.parked > 0 && <Retry batch={batch} name={name} />}
      {isMine && batch.pending > 0 && <Cancel batch={batch} name={name} />}
    </span>
  );
}

function Cancel({ batch, name }: { batch: Batch; name: string }) {
  const { run, pending } = useAction(() => cancelled(batch.batch_id), {
    question: () => ({
      title: texts.ask.cancelTitle(name),
      consequences: [texts.ask.cancelText(batch.pending), texts.ask.cancelNumbers],
      confirm: texts.ask.cancelConfirm(batch.pending),
      isDanger: true,
    }),
  });
  return (
    <Button onClick={() => void run()} pending={pending.value} label={`${texts.cancel}: ${name}`}>
      {texts.cancel}
    </Button>
  );
}

async function cancelled(batchId: string): Promise<Done> {
  const { images } = await ask("cancel", { batch_id: batchId });
  refreshBatches();
  return { text: texts.done.cancelled(images) };
}

function Retry({ batch, name }: { batch: Batch; name: string }) {
  const { run, pending } = useAction(() => retried(batch.batch_id), {
    question: () => ({
      title: texts.ask.retryTitle(name),
      consequences: [texts.ask.retryText(batch.failed + batch.parked), texts.ask.retryNumbers],
      confirm: texts.ask.retryConfirm(batch.failed + batch.parked),
    }),
  });
  return (
    <Button icon="retry" onClick={() => void run()} pending={pending.value} label={`${texts.retry}: ${name}`}>
      {texts.retry}
    </Button>
  );
}

async function retried(batchId: string): Promise<Done> {
  const { images } = await ask("retry", { batch_id: batchId });
  refreshBatches();
  return { text: texts.done.retried(images) };
}

type Priority = keyof typeof texts.priorities;

function PriorityChoice({ batch, name }: { batch: Batch; name: string }) {
  const { run, pending } = useAction(async (priority: Priority) => {
    const before = batch.priority as Priority;
    await prioritize(batch.batch_id, priority);
    return {
      text: texts.done.prioritized(texts.priorities[priority]),
      undo: () => prioritize(batch.batch_id, before),
    };
  });
  return (
    <select
      class="choice"
      aria-label={`${texts.priority}: ${name}`}
      title={texts.priority}
      value={batch.priority}
      disabled={pending.value}
      onChange={(event) => void run(event.currentTarget.value as Priority)}
    >
      {Object.entries(texts.priorities).map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}

async function prioritize(batchId: string, priority: Priority): Promise<void> {
  await ask("set_priority", { batch_id: batchId, priority });
  refreshBatches();
}
