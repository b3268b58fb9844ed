"""The work that remains to be done, derived from the state. It is updated row by row, never by scanning.

The index holds open work only. The engine feeds it changed rows after each commit, asks what may start (`take`), and
reports what ended (`done`). After a crash it is filled from the open rows and gives the same effects again: effects are
owed by state, not fired by events. It has no clock: callers pass the time, and `wake_at_ms` gives the next time to ask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from comfyledger.core.backends import box_of
from comfyledger.core.boxes import BoxRow
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Row
from comfyledger.core.scheduling.capacity import Calls, Limits
from comfyledger.core.scheduling.effects import (
    Effect,
    EffectKey,
    FetchPrompt,
    SubmitPrompt,
    effects_of_image,
    effects_of_input,
    next_submit,
    next_submit_key,
)
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.lanes import PROBE_FIRST_MS, Lanes
from comfyledger.core.scheduling.moves import Moves
from comfyledger.core.scheduling.open_batches import OpenBatches
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary, summary_of
from comfyledger.core.scheduling.orphans import Orphans
from comfyledger.core.scheduling.owed_effects import OwedEffects
from comfyledger.core.scheduling.ownership import Ownership
from comfyledger.core.scheduling.prompt_queue import PromptQueue
from comfyledger.core.scheduling.source_waits import SourceWaits
from comfyledger.core.values import EVERYTHING, backend_lane, lane_and_box, lane_at, user_lane

_QUEUE: Final = "queue"
_USER: Final = "user/"


class PendingWork:
    """The index of open work."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open = OpenBatches()
        self._batches, self._prompts = self._open.batches, self._open.prompts
        self._owners = Ownership(limits.box)
        self._orphans = Orphans(self._owners)
        self._images: dict[tuple[str, int], ImageRow] = {}
        self._inputs: dict[str, InputRow] = {}
        self._sources = SourceWaits()
        self._effects = OwedEffects(limits)
        self.fit: Final = Fit(limits.every_tag, limits.no_secrets)
        """Which backends may run what. Read only, from outside."""
        self._queue = PromptQueue(limits, self._batches, self._prompts, self.fit)
        self._lanes = Lanes(limits.box)
        self.moves: Final = Moves(self._batches, self._prompts, self.fit, self._lanes, self._owners)
        """Which attempts are to be left behind. Read only, from outside."""

    # ---- what changed

    def apply(self, rows: Iterable[Row], now_ms: int) -> None:
        """Take in rows as they are after a commit: batches first. A batch is let go of only after all of its rows were
        taken in.
        """
        changed: dict[str, None] = {}
        others: list[Row] = []
        for row in rows:
            if isinstance(row, BatchRow):
                self._batch(row, now_ms)
                changed[row.batch_id] = None
            else:
                others.append(row)
        for row in others:
            match row:
                case PromptRow():
                    self._prompt(row, now_ms)
                    changed[row.batch_id] = None
                case ImageRow():
                    self._image(row)
                case _:
                    self._other(row, now_ms)
        for batch_id in changed:
            if (template := self._open.let_go(batch_id)) is not None:
                self.fit.forget(template)

    def _other(self, row: Row, now_ms: int) -> None:
        match row:
            case LaneRow():
                self._lane_row(row, now_ms)
            case InputRow():
                self._input(row)
            case BoxRow():
                self._box(row, now_ms)
            case _:
                pass

    def _batch(self, row: BatchRow, now_ms: int) -> None:
        before = self._open.put_batch(row)
        if before is None or (before.held, before.priority) == (row.held, row.priority):
            return
        self._requeue(row.batch_id, now_ms)
        is_released = before.held and not row.held
        if is_released and self.fit.forget(row.template):  # somebody may have installed what was missing
            self._refit([row.template], now_ms)

    def _prompt(self, row: PromptRow, now_ms: int) -> None:
        place = (row.batch_id, row.index)
        batch = self._batches[row.batch_id]
        before = self._open.put_prompt(row)
        if self._began_elsewhere(before, row):
            self._queue.go_elsewhere(batch, row, now_ms)
        else:
            self._queue.discard(row)
        self.moves.put(before, row)
        if not row.is_over:
            self._enqueue(batch, row, now_ms)
        was = before.backend if before is not None else ""
        going = {self._going_to(one) for one in (before, row) if one is not None}  # another box may have been first
        for backend in {row.backend, was, *going}:
            if backend:
                self._count_place(backend, place, now_ms)
        self._effects.owe(self._owners.of_prompt(before) if before else (), self._owners.of_prompt(row))
        self._await_sources(batch, row)

    def _began_elsewhere(self, before: PromptRow | None, row: PromptRow) -> bool:
        """Whether another box has begun an attempt, unless this one had picked the prompt too: then that was the turn
        of its user.
        """
        if before is None or self._owners.has_backend(row.backend) or row.next_attempt == before.next_attempt:
            return False
        return next_submit_key(before) not in self._effects.running

    def _count_place(self, backend: str, place: tuple[str, int], now_ms: int) -> None:
        """A prompt takes one of a backend's places while it may be there, and while its first submit there runs."""
        row = self._prompts.get(place)
        is_there = row is not None and row.at_comfyui and row.backend == backend
        taken = is_there or (row is not None and self._going_to(row) == backend)
        self._queue.count_place(backend, place, now_ms, taken=taken)

    def _going_to(self, row: PromptRow) -> str:
        """The backend to which the submit that begins its next attempt runs; empty if none runs."""
        submit = self._effects.running.get(next_submit_key(row))
        return submit.backend if isinstance(submit, SubmitPrompt) else ""

    def _image(self, row: ImageRow) -> None:
        place = (row.batch_id, row.index)
        before = self._images.pop(place, None)
        if effects_of_image(row):
            self._images[place] = row
        self._orphans.put(before, row)
        self._effects.owe(self._owners.of_image(before) if before else (), self._owners.of_image(row))
        for effect in self._sources.of(place) if self._owners.is_caretaker else ():
            self._effects.look_again(effect)

    def _input(self, row: InputRow) -> None:
        before = self._inputs.pop(row.sha256, None)
        if effects_of_input(row):
            self._inputs[row.sha256] = row
        self._effects.owe(self._owners.of_input(before) if before else (), self._owners.of_input(row))

    def _box(self, row: BoxRow, now_ms: int) -> None:
        """Who comes or goes changes who does what."""
        before = list(self._own_effects())
        self._owners.apply(row, now_ms)
        self._effects.owe(before, list(self._own_effects()))
        if self.fit.give_up(self._owners.given_up):
            self._queue.refit(now_ms)
        self._queue.leave_to_others(self._owners.rank)
        self._say_who_works(now_ms)

    def _own_effects(self) -> Iterator[Effect]:
        for prompt in self._prompts.values():
            yield from self._owners.of_prompt(prompt)
        for image in self._images.values():
            yield from self._owners.of_image(image)
        for of_input in self._inputs.values():
            yield from self._owners.of_input(of_input)
        if self._owners.is_caretaker:
            yield from self._sources.every

    def _lane_row(self, row: LaneRow, now_ms: int) -> None:
        pause_changed = self._lanes.apply(row, now_ms)
        self._say_who_works(now_ms)
        if pause_changed and row.name.startswith(_USER):
            for batch_id in self._open.of_user(row.name.removeprefix(_USER)):
                self._requeue(batch_id, now_ms)

    def _say_who_works(self, now_ms: int) -> None:
        """Those of other boxes among them: what they may take is not for a backend that does not work."""
        there = (name for name in self.fit.names if not self._owners.is_gone(box_of(name)))
        self._queue.works((name for name in there if self._lanes.works(backend_lane(name))), now_ms)

    # ---- the queue of prompts

    def _enqueue(self, batch: BatchRow, row: PromptRow, now_ms: int) -> None:
        if row.state != "queued" or batch.held or row.lacks_sources:
            return
        is_busy = (row.batch_id, row.index) in self._effects.fetching or next_submit_key(row) in self._effects.running
        if not is_busy and not self.paused(user_lane(batch.user_key)):
            self._queue.add(batch, row, now_ms)

    def _requeue(self, batch_id: str, now_ms: int) -> None:
        """Put the queued prompts of a batch where its holds and pauses want them."""
        batch = self._batches[batch_id]
        for row in self._open.prompts_of(batch_id):
            self._queue.discard(row)
            self._enqueue(batch, row, now_ms)
            self._await_sources(batch, row)

    # ---- which backends may take them

    def set_backends(
        self,
        queue_depths: Mapping[str, int],
        tags: Mapping[str, frozenset[str]],
        move_after_ms: Mapping[str, int],
        no_secrets: frozenset[str],
        now_ms: int,
        anew: Collection[str] = (),
    ) -> None:
        """These are all backends from now on; see `Limits`. `anew`: other servers under the names of earlier ones.

        Prompts that are at a backend that has gone stay there until a report says something else.
        """
        fresh = queue_depths.keys() - (self._limits.queue_depths.keys() - set(anew))
        self._limits = replace(
            self._limits, queue_depths=queue_depths, tags=tags, move_after_ms=move_after_ms, no_secrets=no_secrets
        )
        self.fit.set_backends(self._limits.every_tag, no_secrets, anew)
        self._queue.set_backends(queue_depths, anew, now_ms)
        self._say_who_works(now_ms)
        there = [(row.backend, place) for place, row in self._prompts.items() if row.backend in fresh]
        submits = (effect for effect in self._effects.running.values() if isinstance(effect, SubmitPrompt))
        for backend, place in [*there, *((one.backend, (one.batch_id, one.prompt)) for one in submits)]:
            self._count_place(backend, place, now_ms)
        self._effects.drop_empty_calls()

    def refuse(self, backend: str, template: str, inputs: str, why: str, now_ms: int) -> None:
        """A backend refuses an open template: see `Fit.refuse`."""
        if self._open.of_template(template) and self.fit.refuse(backend, template, inputs, why):
            self._refit([template], now_ms)

    def learned(self, backend: str, now_ms: int) -> None:
        """A backend has something else than before."""
        self._refit(self.fit.learned(backend), now_ms)

    def _refit(self, templates: Iterable[str], now_ms: int) -> None:
        for template in templates:
            for batch_id in self._open.of_template(template):
                self._requeue(batch_id, now_ms)

    # ---- prompts that wait for images

    def _await_sources(self, batch: BatchRow, row: PromptRow) -> None:
        """Owe a look at the sources of a prompt that has come to wait for them, or waits for others now."""
        place = (row.batch_id, row.index)
        before = self._sources.effect(place)
        after = self._sources.put(batch, row)
        if before != after and self._owners.is_caretaker:
            self._effects.owe((before,) if before else (), (after,) if after else ())

    # ---- what may start

    def take(self, now_ms: int) -> list[Effect]:
        """The effects to start now. Each one is running until `done` is called for it."""
        for key in self._effects.due(now_ms):
            if key[0] == _QUEUE:
                self._queue_again(key[1], key[2], now_ms)
            else:
                self._effects.wait_again(key)
        started: list[Effect] = []
        for (lane, kind), calls in list(self._effects.calls.items()):
            if calls.has_next:
                started += self._start_waiting(lane, kind, calls, now_ms)
        started += self._start_prompts(now_ms)
        return started

    def _start_waiting(self, lane: str, kind: str, calls: Calls, now_ms: int) -> list[Effect]:
        if kind == "upload" and self._lanes.is_paused(lane):
            return []
        started: list[Effect] = []
        while calls.has_next and self._may_call(lane, kind, now_ms):
            effect = self._next_waiting(calls)
            if effect is None:
                break
            self._start(effect, now_ms)
            started.append(effect)
        return started

    def _next_waiting(self, calls: Calls) -> Effect | None:
        """The first that waits and whose user has a place left."""
        return next((effect for effect in calls.waiting() if calls.has_place_for(self._payer_of(effect))), None)

    def _payer_of(self, effect: Effect) -> str | None:
        """The user whose place an effect takes; only fetches take one."""
        return self.user_of(effect.batch_id) if isinstance(effect, FetchPrompt) else None

    def _start_prompts(self, now_ms: int) -> list[Effect]:
        started: list[Effect] = []
        for backend in self._queue.in_turn() if not self._owners.is_out else ():
            lane = backend_lane(backend)
            if self._lanes.is_paused(lane) or not self._may_call(lane, "submit", now_ms):
                continue
            picked = self._queue.pick(backend, now_ms)
            if picked is not None:
                effect = next_submit(self._prompts[picked], backend)
                self._start(effect, now_ms)
                self._count_place(backend, picked, now_ms)
                started.append(effect)
        return started

    def _may_call(self, lane: str, kind: str, now_ms: int) -> bool:
        """A lane in trouble is tried by one call at a time. Following does not count as a call: it waits for the
        websocket.
        """
        if kind == "follow" or not self._lanes.in_trouble(lane):
            return True
        calls = (calls for (name, other), calls in self._effects.calls.items() if name == lane and other != "follow")
        return self._lanes.may_probe(lane, now_ms) and not any(each.running for each in calls)

    def _start(self, effect: Effect, now_ms: int) -> None:
        self._effects.start(effect, self._payer_of(effect))
        if effect.kind != "follow":
            self._lanes.called(effect.lane, now_ms)

    def done(self, key: EffectKey, now_ms: int, *, died: bool = False) -> None:
        """An effect has ended. If the state still wants it, it is owed again after a growing delay.

        `died`: its worker raised an error.
        """
        effect = self._effects.end(key)
        if effect is None:
            return
        if isinstance(effect, SubmitPrompt):
            self._submit_ended(effect, now_ms)
        elif isinstance(effect, FetchPrompt):
            self._fetch_ended(effect, now_ms)
        is_probe = effect.kind != "follow" and self.in_trouble(effect.lane)
        self._effects.resume(effect, now_ms, died=died, at_once=is_probe)

    def _submit_ended(self, effect: SubmitPrompt, now_ms: int) -> None:
        """A prompt that was picked and did not get as far as its intent goes back into the queue."""
        place = (effect.batch_id, effect.prompt)
        self._count_place(effect.backend, place, now_ms)
        row = self._prompts.get(place)
        if row is not None and row.state == "queued":
            goes_on = effect.backend not in self.fit.backends_of(self._batches[effect.batch_id], row)
            delay_ms = 0 if goes_on or self.in_trouble(effect.lane) else PROBE_FIRST_MS
            self._effects.at(now_ms + delay_ms, (_QUEUE, effect.batch_id, effect.prompt, 0))

    def _fetch_ended(self, effect: FetchPrompt, now_ms: int) -> None:
        """What waited because of it need not wait any more: the next attempt, or the files of another one."""
        place = (effect.batch_id, effect.prompt)
        del self._effects.fetching[place]
        self._queue_again(*place, now_ms)
        row = self._prompts.get(place)
        for other in self._owners.of_prompt(row) if row is not None else ():
            if isinstance(other, FetchPrompt) and other.key != effect.key:
                self._effects.wait(other)

    def _queue_again(self, batch_id: str, index: int, now_ms: int) -> None:
        row = self._prompts.get((batch_id, index))
        if row is not None:
            self._enqueue(self._batches[batch_id], row, now_ms)

    # ---- lanes

    def stuck(self, lane: str, code: str, now_ms: int, retry_after_s: float | None = None) -> None:
        """A call of this lane could not work: wait longer after each probe, and as long as the lane asks.

        Call it after `apply` of the same commit: a lane that works again according to its row is not in trouble.
        """
        self._lanes.stuck(lane_and_box(lane)[0] if self._limits.box else lane, code, now_ms, retry_after_s)

    def lane_here(self, lane: str) -> str:
        """As which lane a trouble of this box is reported."""
        return lane_at(lane, self._limits.box)

    def paused(self, lane: str) -> bool:
        """Whether a person paused this lane."""
        return lane in self._lanes.paused_by_person

    def in_trouble(self, lane: str) -> bool:
        return self._lanes.in_trouble(lane)

    def probe_soon(self, lane: str, now_ms: int) -> None:
        """There is a sign that the lane works again: the next probe need not wait."""
        self._lanes.probe_soon(lane, now_ms)

    def moves_due(self, now_ms: int) -> list[PromptRow]:
        """The prompts whose live attempts are to be left behind now, because their backends do not work."""
        return self.moves.due(self._limits.move_after_ms, now_ms)

    def orphans_due(self, now_ms: int) -> list[ImageRow]:
        """The images that only a box keeps which left, and which are not left to it any longer. For the caretaker."""
        return self._orphans.due(self._limits.orphan_after_ms, now_ms)

    def boxes_overdue(self, now_ms: int) -> list[str]:
        """The boxes that left and are not waited for any longer."""
        return self._owners.overdue(self._limits.orphan_after_ms, now_ms)

    @property
    def move_after_ms(self) -> Mapping[str, int]:
        """As `Limits.move_after_ms`."""
        return self._limits.move_after_ms

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When `take` may return something new although no row changed; None if it cannot."""
        times = [self._effects.later[0][0]] if self._effects.later else []
        return min([*times, *self._lanes.probes_after(now_ms)], default=None)

    # ---- bookkeeping

    def user_of(self, batch_id: str) -> str | None:
        """The user of an open batch."""
        batch = self._batches.get(batch_id)
        return batch.user_key if batch is not None else None

    def batch(self, batch_id: str) -> BatchRow | None:
        """An open batch."""
        return self._batches.get(batch_id)

    def prompt(self, batch_id: str, index: int) -> PromptRow | None:
        """A prompt that is not done."""
        return self._prompts.get((batch_id, index))

    def image(self, batch_id: str, index: int) -> ImageRow | None:
        """An image that stores are owed, or are to delete."""
        return self._images.get((batch_id, index))

    def open_counts(self) -> dict[str, int]:
        """How much is open, for status and for tests of what memory holds."""
        return {
            "batches": len(self._batches),
            "prompts": len(self._prompts),
            "uploads": sum(len(effects_of_image(row)) for row in self._images.values()),
            "waiting": sum(row.lacks_sources for row in self._prompts.values()),
            "running": len(self._effects.running),
        }

    def open_counts_of(self, label: str) -> dict[str, int]:
        """The same for the open batches of one label."""
        own = {batch_id for batch_id, row in self._batches.items() if row.label == label}
        images = (row for row in self._images.values() if row.batch_id in own)
        return {
            "batches": len(own),
            "prompts": sum(batch_id in own for batch_id, _ in self._prompts),
            "uploads": sum(len(effects_of_image(row)) for row in images),
            "waiting": sum(row.lacks_sources for row in self._prompts.values() if row.batch_id in own),
            "running": sum(batch_id in own for _, batch_id, *_ in self._effects.running),
        }

    def standing(self, now_ms: int) -> OpenWorkSummary:
        paused, troubles = self._lanes.paused_by_person, self._lanes.codes()
        removals = (effect for row in self._inputs.values() for effect in effects_of_input(row))
        found = summary_of(
            self._batches.values(), self._prompts.values(), self._effects.running.values(), paused, troubles, removals
        )
        return self._queue.add_to(found, now_ms, stopped=self.paused(EVERYTHING))
