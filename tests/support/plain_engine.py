"""The plain ledger with an index of what is owed beside it, as the engine keeps it: messages go in as groups, rows that
changed are applied after each group, effects are taken and said to be done. Time is a number that tests move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sized
from typing import Any

from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.sources import has_ended
from comfyledger.core.keys import ImageKey
from comfyledger.core.output_files import by_output
from comfyledger.core.reports import InputGone, InputRemoving, LaneStuck, LaneWorks, SourceEnded
from comfyledger.core.results import Wanted
from comfyledger.core.rows import Row, RowId, row_id
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import (
    DeleteImage,
    Effect,
    EffectKey,
    FetchPrompt,
    FindSources,
    FollowPrompt,
    PromptEffect,
    RemoveInput,
    SubmitPrompt,
    UploadImage,
)
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import blob_of
from comfyledger.errors import Refused
from comfyledger.workers.sources import with_bytes
from support.core_builders import (
    PlainLedger,
    accepted,
    deleted,
    gone,
    intended,
    kept,
    laid,
    sources_of,
    uploaded,
    uploading,
    wrote,
)


class PlainEngine:
    """One ledger, one index, and the effects under way."""

    def __init__(self, limits: Limits | None = None, ledger: PlainLedger | None = None) -> None:
        self.ledger = ledger or PlainLedger()
        self.limits = limits or Limits({"main": 3})
        self.owed = PendingWork(self.limits)
        self.now_ms = 0
        self.running: dict[EffectKey, Effect] = {}

    def post(self, *messages: Message | Iterable[Message]) -> list[Any]:
        """Decide messages as one group. Gives their answers; a refusal stands in the place of an answer."""
        flat = [one for each in messages for one in (each if isinstance(each, Iterable) else (each,))]
        rows: dict[RowId, Row] = {}
        answers = [self._decide(message, rows) for message in flat]
        self.take_in(rows.values())
        for message in flat:
            if isinstance(message, LaneStuck):
                self.owed.stuck(message.lane, message.code, self.now_ms, message.retry_after_s)
        return answers

    def take_in(self, rows: Collection[Row]) -> None:
        """Rows as they are after a commit."""
        self.owed.apply(rows, self.now_ms)

    def _decide(self, message: Message, rows: dict[RowId, Row]) -> Any:
        try:
            answer = self.ledger.when(message).answer
        except Refused as refusal:
            return refusal
        rows.update((row_id(row), row) for row in self.ledger.changed)
        return answer

    def given(self, *messages: Message | Iterable[Message]) -> PlainEngine:
        """Decide messages one group after another."""
        for message in messages:
            for one in message if isinstance(message, Iterable) else (message,):
                self.post(one)
        return self

    def take(self) -> list[Effect]:
        effects = self.owed.take(self.now_ms)
        for effect in effects:
            assert effect.key not in self.running, f"handed out twice: {effect}"
            self.running[effect.key] = effect
        return effects

    def done(self, *effects: Effect, died: bool = False) -> None:
        for effect in effects:
            del self.running[effect.key]
            self.owed.done(effect.key, self.now_ms, died=died)

    def wait(self, ms: int) -> PlainEngine:
        self.now_ms += ms
        return self

    def restart(self) -> None:
        """A crash: nothing runs any more, and the index is filled from the open rows."""
        self.running.clear()
        self.owed = PendingWork(self.limits)
        self.owed.apply(self.ledger.open_rows(), self.now_ms)

    # ---- workers that succeed

    def perform(self, effect: Effect) -> None:
        """Do an effect as a worker does to whom nothing ever happens."""
        match effect:
            case PromptEffect():
                self._render(effect)
            case UploadImage():
                self.upload(effect)
            case DeleteImage():
                self.delete(effect)
            case FindSources():
                self._look_up(effect)
            case RemoveInput(sha256=sha256, backend=backend, name=name):
                if self.go(InputRemoving(sha256, backend, name)):
                    self.post(InputGone(sha256, backend, name))
        if self.owed.in_trouble(effect.lane) and not isinstance(effect, FollowPrompt):
            self.post(LaneWorks(self.owed.lane_here(effect.lane)))
        self.done(effect)

    def upload(self, effect: UploadImage) -> None:
        about = (effect.image.index, effect.store)
        if self.go(uploading(*about, batch=effect.image.batch_id)):
            self.post(uploaded(*about, batch=effect.image.batch_id))

    def delete(self, effect: DeleteImage) -> None:
        self.post(deleted(effect.image.index, effect.store, batch=effect.image.batch_id))

    def _render(self, effect: PromptEffect) -> None:
        match effect:
            case SubmitPrompt(batch_id=batch, prompt=prompt, attempt=attempt):
                if self.go(intended(prompt, attempt, batch=batch, backend=effect.backend)):
                    self.post(accepted(prompt, attempt, batch=batch))
            case FollowPrompt(batch_id=batch, prompt=prompt, attempt=attempt):
                end = wrote(prompt, attempt, files=self.files_expected(effect), batch=batch)
                self.post(gone(prompt, attempt, batch=batch) if self._is_removed(effect) else end)
            case FetchPrompt():
                self._fetched(effect)
            case _:
                pass

    def _is_removed(self, effect: FollowPrompt) -> bool:
        """Whether cancelling comes before the end. Of strays it does so for every other one."""
        row = self.ledger.prompt(effect.prompt, effect.batch_id)
        if row.stray(effect.attempt) is not None:
            return effect.attempt % 2 == 0
        return row.state == "cancelling"

    def _look_up(self, effect: FindSources) -> None:
        """Report what the sources are, or the first that ended."""
        sources = [load.source for load in effect.loads if load.source is not None]
        state = self.ledger.load(ImageKey(source.batch_id, source.image) for source in sources)
        rows = {source: state.image(source.batch_id, source.image) for source in sources}
        over = next((source for source, row in rows.items() if has_ended(row)), None)
        if over is not None:
            self.post(SourceEnded(effect.batch_id, effect.prompt, over, blob_of(b"it ended", b"salt")))
        elif loads := with_bytes(effect.loads, rows):
            self.post(sources_of(effect.batch_id, *loads, prompt=effect.prompt))

    def files_expected(self, effect: FollowPrompt) -> list[int]:
        """How many files each output of the batch gives, if the attempt was asked for it."""
        asked = self.ledger.prompt(effect.prompt, effect.batch_id).as_attempt(effect.attempt).outputs
        images = [self.ledger.image(index, effect.batch_id).output for index in effect.images]
        counts = Counter(number for number in images if not asked or number in asked)
        return [counts[number] for number in range(1, max(images) + 1)]

    def _fetched(self, effect: FetchPrompt) -> None:
        """First the files that belong to images, then those that a person must choose from."""
        prompt, attempt, batch = effect.prompt, effect.attempt, effect.batch_id
        rows = [self.ledger.image(index, effect.batch_id) for index in effect.images]
        waiting = {row.index for row in rows if row.state == "pending"}
        shares = [share for share in by_output(rows, effect.files) if not waiting.isdisjoint(share.images)]
        mine = [index for share in shares if not share.is_surplus for index, _ in share.pairs if index in waiting]
        surplus = [place for share in shares if share.is_surplus for place in share.places]
        if mine or not surplus:
            self.post(kept(*mine, prompt=prompt, attempt=attempt, batch=batch))
        if surplus:
            self.post(laid(*surplus, prompt=prompt, attempt=attempt, batch=batch))

    def go(self, question: Message) -> bool:
        (answer,) = self.post(question)
        return isinstance(answer, Wanted) and answer.go

    def work(self, rounds: int = 500) -> PlainEngine:
        """Do all that is owed until nothing is, moving the time to whenever something may be owed again."""
        for _ in range(rounds):
            self.take()
            for effect in list(self.running.values()):
                self.perform(effect)
            wake_at = self.owed.wake_at_ms(self.now_ms)
            if wake_at is not None:
                self.now_ms = max(self.now_ms, wake_at)
            elif not self._more():
                return self
        raise AssertionError(f"still owed after {rounds} rounds: {list(self.running)}")

    def _more(self) -> bool:
        self.take()
        return bool(self.running)


def kept_in_memory(owed: PendingWork) -> int:
    """How many entries an index holds in all of its private collections."""
    queue, effects, rows = owed._queue, owed._effects, owed._open
    plain: list[Sized] = [rows.batches, rows.prompts, rows._open, rows._users, rows._templates, owed._images]
    plain += [effects.wanted, owed.fit._refused, owed._inputs, effects._again]
    plain += [owed._sources._effects, owed._sources._waiting, owed.moves._sent, queue._alone]
    plain += [owed.moves._strays, owed._orphans._kept]
    plain += [effects.fetching, effects.running, effects.later, effects._failed_in_row]
    total = sum(map(len, plain))
    for calls in effects.calls.values():
        total += len(calls._waiting) + calls.running + len(calls._users) + len(calls._of_user)
    total += sum(len(places.there) for places in queue._places.values()) + len(queue._queued)
    classes, turns = queue._classes, queue._picker._turns
    total += sum(classes.waiting) + len(classes._classes) + sum(len(each) for each in classes._unserved.values())
    return total + len(turns._had) + len(turns._waiting)
