"""What the state says remains to be done, kept up to date row by row, never by scanning.

The index holds open work only. It is fed with changed rows after each commit, asked what may start now (`take`), and
told what ended (`done`). After a crash it is filled from the open rows and says the same things again: effects are owed
by state, not fired by events. It knows no clock: the time comes in, and `wake_at_ms` says when to ask again.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Row
from comfyledger.core.scheduling.effects import (
    CancelPrompt,
    DeleteImage,
    Effect,
    EffectKey,
    FetchPrompt,
    FollowPrompt,
    StoreEffect,
    SubmitPrompt,
    UploadImage,
)
from comfyledger.core.scheduling.fair_queue import FairQueue
from comfyledger.core.scheduling.lane_health import PROBE_FIRST_MS, Trouble, backoff_ms
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary, summary_of
from comfyledger.core.values import EVERYTHING, backend_lane, user_lane

_QUEUE: Final = "queue"
_SOUGHT_MAX: Final = 1_000
"""Effects that are passed over for one whose user has a place left."""


class Limits(msgspec.Struct, frozen=True):
    """How much may be under way at once, for each lane."""

    queue_depth: int = 3
    fetches_max: int = 4
    fetches_user_max: int = 1_000_000
    """Of one user among them: nobody's files that come slowly take every place."""
    uploads_max: int = 8
    cancels_max: int = 4
    priority_age_ms: int = 600_000

    def of(self, kind: str) -> int:
        return {"fetch": self.fetches_max, "upload": self.uploads_max, "cancel": self.cancels_max}.get(kind, 1_000_000)


class _Lane:
    """Effects of one lane and kind that wait for their turn, and how many are under way."""

    def __init__(self) -> None:
        self.waiting: OrderedDict[EffectKey, Effect] = OrderedDict()
        self.running = 0
        self.of_user: Counter[str] = Counter()
        """How many of them are fetches of one user."""


class PendingWork:
    """The index of open work."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._batches: dict[str, BatchRow] = {}
        self._prompts: dict[tuple[str, int], PromptRow] = {}
        self._open: dict[str, set[int]] = {}
        self._users: dict[str, set[str]] = {}
        self._images: dict[tuple[str, int], ImageRow] = {}
        self._wanted: dict[EffectKey, Effect] = {}
        self._running: dict[EffectKey, Effect] = {}
        self._fetching: dict[EffectKey, str] = {}
        """The users of fetches under way: a batch may be over before they are."""
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._rotations: dict[str, FairQueue] = {}
        self._at_backend: dict[str, set[tuple[str, int]]] = {}
        self._alone: dict[str, tuple[str, int]] = {}
        self._paused: set[str] = set()
        self._trouble: dict[str, Trouble] = {}
        self._later: list[tuple[int, EffectKey]] = []
        self._failed_in_row: dict[EffectKey, int] = {}

    # ---- what changed

    def apply(self, rows: Iterable[Row], now_ms: int) -> None:
        """Take in rows as they are after a commit. A batch is let go of only after all of its rows were taken in."""
        order = sorted(rows, key=lambda row: 0 if isinstance(row, BatchRow) else 1)
        for row in order:
            match row:
                case BatchRow():
                    self._batch(row, now_ms)
                case PromptRow():
                    self._prompt(row, now_ms)
                case ImageRow():
                    self._image(row)
                case LaneRow():
                    self._lane_row(row, now_ms)
                case _:
                    pass
        for batch_id in {row.batch_id for row in order if isinstance(row, (BatchRow, PromptRow))}:
            self._forget_if_over(batch_id)

    def _batch(self, row: BatchRow, now_ms: int) -> None:
        before = self._batches.get(row.batch_id)
        self._batches[row.batch_id] = row
        self._users.setdefault(row.user_key, set()).add(row.batch_id)
        if before is not None and before.held != row.held:
            self._requeue(row.batch_id, now_ms)

    def _forget_if_over(self, batch_id: str) -> None:
        batch = self._batches.get(batch_id)
        if batch is None or not batch.settled or self._open.get(batch_id):
            return
        del self._batches[batch_id]
        self._open.pop(batch_id, None)
        mine = self._users[batch.user_key]
        mine.discard(batch_id)
        if not mine:
            del self._users[batch.user_key]

    def _prompt(self, row: PromptRow, now_ms: int) -> None:
        place = (row.batch_id, row.index)
        batch = self._batches[row.batch_id]
        before = self._prompts.pop(place, None)
        self._dequeue(batch, row)
        if row.state == "done":
            self._open.get(row.batch_id, set()).discard(row.index)
        else:
            self._prompts[place] = row
            self._open.setdefault(row.batch_id, set()).add(row.index)
            self._enqueue(batch, row, now_ms)
        self._count_place(row.backend, place)
        self._owe(self._effects_of(before) if before else (), self._effects_of(row))

    def _count_place(self, backend: str, place: tuple[str, int]) -> None:
        """A prompt takes one of its backend's places while it may be there, and while its first submit runs."""
        row = self._prompts.get(place)
        taken = row is not None and (row.at_comfyui or _next_submit(row).key in self._running)
        places = self._at_backend.setdefault(backend, set())
        (places.add if taken else places.discard)(place)

    def _effects_of(self, row: PromptRow) -> tuple[Effect, ...]:
        about = (row.batch_id, row.index, row.attempt, row.backend)
        match row.state:
            case "submitting":
                return (SubmitPrompt(*about, resumed=True),)
            case "accepted":
                return (FollowPrompt(*about, row.prompt_id, row.images),)
            case "cancelling":
                return (FollowPrompt(*about, row.prompt_id, row.images), CancelPrompt(*about, row.prompt_id))
            case "finished":
                return (FetchPrompt(*about, row.prompt_id, row.images[: len(row.files)], row.files, row.waiting),)
            case _:
                return ()

    def _image(self, row: ImageRow) -> None:
        place = (row.batch_id, row.index)
        before, effects = self._images.pop(place, None), self._uploads_of(row)
        if effects:
            self._images[place] = row
        self._owe(self._uploads_of(before), effects)

    def _uploads_of(self, row: ImageRow | None) -> list[StoreEffect]:
        """What stores are owed: a kept image's bytes, and that a forgotten one is deleted."""
        if row is not None and row.state == "kept":
            open_uploads = (upload for upload in row.uploads if upload.state in {"owed", "uploading"})
            return [UploadImage(upload.store, row, upload) for upload in open_uploads]
        if row is not None and row.state == "forgetting":
            deletions = (upload for upload in row.uploads if upload.state == "deleting")
            return [DeleteImage(upload.store, row, upload) for upload in deletions]
        return []

    def _lane_row(self, row: LaneRow, now_ms: int) -> None:
        was_paused = row.name in self._paused
        (self._paused.add if row.person else self._paused.discard)(row.name)
        if row.code and row.name not in self._trouble:
            self._trouble[row.name] = Trouble(row.code, now_ms)
        elif not row.code:
            self._trouble.pop(row.name, None)
        if row.person != was_paused and row.name.startswith("user/"):
            for batch_id in self._users.get(row.name.removeprefix("user/"), set()):
                self._requeue(batch_id, now_ms)

    # ---- the queue of prompts

    def _rotation(self, backend: str) -> FairQueue:
        found = self._rotations.get(backend)
        if found is None:
            found = self._rotations[backend] = FairQueue(self._limits.priority_age_ms)
        return found

    def _enqueue(self, batch: BatchRow, row: PromptRow, now_ms: int) -> None:
        free = not batch.held and user_lane(batch.user_key) not in self._paused
        if row.state == "queued" and free and _next_submit(row).key not in self._running:
            self._rotation(row.backend).add(batch.priority, batch.user_key, batch.batch_id, row.index, now_ms)

    def _dequeue(self, batch: BatchRow, row: PromptRow) -> None:
        self._rotation(row.backend).discard(batch.priority, batch.user_key, batch.batch_id, row.index)
        if self._alone.get(row.backend) == (row.batch_id, row.index):
            del self._alone[row.backend]

    def _requeue(self, batch_id: str, now_ms: int) -> None:
        """Put the queued prompts of a batch where its holds and pauses want them."""
        batch = self._batches[batch_id]
        for index in sorted(self._open.get(batch_id, ())):
            row = self._prompts[batch_id, index]
            self._dequeue(batch, row)
            self._enqueue(batch, row, now_ms)

    # ---- what may start

    def take(self, now_ms: int) -> list[Effect]:
        """The effects that shall start now. Each is under way until `done` is said of it."""
        while self._later and self._later[0][0] <= now_ms:
            _, key = heapq.heappop(self._later)
            if key[0] == _QUEUE:
                self._queue_again(key[1], key[2], now_ms)
            elif key in self._wanted and key not in self._running:
                self._wait(self._wanted[key])
        started: list[Effect] = []
        for (lane, kind), group in list(self._lanes.items()):
            started += self._start_waiting(lane, kind, group, now_ms)
        for backend in self._rotations:
            started += self._start_prompts(backend, now_ms)
        return started

    def _start_waiting(self, lane: str, kind: str, group: _Lane, now_ms: int) -> list[Effect]:
        if not group.waiting or (kind == "upload" and self._is_paused(lane)):
            return []
        started: list[Effect] = []
        while group.waiting and group.running < self._limits.of(kind) and self._may_call(lane, kind, now_ms):
            effect = self._next_waiting(group)
            if effect is None:
                break
            self._start(effect, now_ms)
            started.append(effect)
        return started

    def _next_waiting(self, group: _Lane) -> Effect | None:
        """The first that waits and whose user has a place left."""
        for key, effect in islice(group.waiting.items(), _SOUGHT_MAX):
            user = self.user_of(effect.batch_id) if isinstance(effect, FetchPrompt) else None
            if user is None or group.of_user[user] < self._limits.fetches_user_max:
                del group.waiting[key]
                return effect
        return None

    def _is_paused(self, lane: str) -> bool:
        return lane in self._paused or EVERYTHING in self._paused

    def _start_prompts(self, backend: str, now_ms: int) -> list[Effect]:
        lane = backend_lane(backend)
        if self._is_paused(lane):
            return []
        started: list[Effect] = []
        while self._has_place(backend) and self._may_call(lane, "submit", now_ms):
            picked = self._pick(backend, now_ms)
            if picked is None:
                break
            effect = _next_submit(self._prompts[picked])
            self._start(effect, now_ms)
            self._count_place(backend, picked)
            started.append(effect)
        return started

    def _has_place(self, backend: str) -> bool:
        """Nothing comes beside a suspect."""
        there = self._at_backend.setdefault(backend, set())
        return len(there) < self._limits.queue_depth and not any(self._prompts[place].strikes for place in there)

    def _pick(self, backend: str, now_ms: int) -> tuple[str, int] | None:
        """The prompt that goes next. A suspect waits until the others have left; its turn stays, so none overtakes."""
        picked = self._alone.pop(backend, None) or self._rotation(backend).pick(now_ms)
        if picked is not None and self._prompts[picked].strikes and self._at_backend[backend]:
            self._alone[backend] = picked
            return None
        return picked

    def _may_call(self, lane: str, kind: str, now_ms: int) -> bool:
        """A lane in trouble is tried by one call at a time. Following is no call: it waits for the socket."""
        trouble = self._trouble.get(lane)
        if trouble is None or kind == "follow":
            return True
        under_way = any(
            group.running for (name, other), group in self._lanes.items() if name == lane and other != "follow"
        )
        return not under_way and trouble.probe_at_ms <= now_ms

    def _start(self, effect: Effect, now_ms: int) -> None:
        """A call to a lane in trouble is a probe. If it ends without a word, the next one waits all the same."""
        self._running[effect.key] = effect
        group = self._group(effect)
        group.running += 1
        user = self.user_of(effect.batch_id) if isinstance(effect, FetchPrompt) else None
        if user is not None:
            self._fetching[effect.key] = user
            group.of_user[user] += 1
        trouble = self._trouble.get(effect.lane)
        if trouble is not None and effect.kind != "follow":
            trouble.probing = True
            trouble.probe_at_ms = now_ms + backoff_ms(trouble.probes + 1)

    def done(self, key: EffectKey, now_ms: int) -> None:
        """An effect has ended. If the state still wants it, it is owed again after a growing delay."""
        effect = self._running.pop(key, None)
        if effect is None:
            return
        group = self._group(effect)
        group.running -= 1
        if (user := self._fetching.pop(key, None)) is not None:
            group.of_user[user] -= 1
            group.of_user += Counter()  # those with none go
        if isinstance(effect, SubmitPrompt):
            self._submit_ended(effect, now_ms)
        if key not in self._wanted:
            return
        if effect.lane in self._trouble and effect.kind != "follow":
            self._wait(self._wanted[key])
        else:
            times = self._failed_in_row[key] = self._failed_in_row.get(key, 0) + 1
            heapq.heappush(self._later, (now_ms + backoff_ms(times), key))

    def _submit_ended(self, effect: SubmitPrompt, now_ms: int) -> None:
        """A prompt that was picked and did not get as far as its intent goes back into the queue."""
        place = (effect.batch_id, effect.prompt)
        self._count_place(effect.backend, place)
        row = self._prompts.get(place)
        if row is not None and row.state == "queued":
            delay_ms = 0 if effect.lane in self._trouble else PROBE_FIRST_MS
            heapq.heappush(self._later, (now_ms + delay_ms, (_QUEUE, effect.batch_id, effect.prompt, 0)))

    def _queue_again(self, batch_id: str, index: int, now_ms: int) -> None:
        row = self._prompts.get((batch_id, index))
        if row is not None:
            self._enqueue(self._batches[batch_id], row, now_ms)

    # ---- lanes

    def stuck(self, lane: str, code: str, now_ms: int, retry_after_s: float | None = None) -> None:
        """A call of this lane could not work: wait longer after each probe, and as long as the lane asks.

        To be said after `apply` of the same commit. Calls that were under way when the trouble began count as one, and
        a lane of which the rows say that it works again is not in trouble.
        """
        trouble = self._trouble.get(lane)
        if trouble is None:
            return
        trouble.code = code
        if trouble.probing or not trouble.probes:
            trouble.probing = False
            trouble.probes += 1
            trouble.probe_at_ms = now_ms + backoff_ms(trouble.probes)
        if retry_after_s is not None:
            trouble.probe_at_ms = max(trouble.probe_at_ms, now_ms + int(retry_after_s * 1000))

    def paused(self, lane: str) -> bool:
        """Whether a person paused this lane."""
        return lane in self._paused

    def in_trouble(self, lane: str) -> bool:
        return lane in self._trouble

    def probe_soon(self, lane: str, now_ms: int) -> None:
        """Something says that the lane may work again: the next probe need not wait."""
        if lane in self._trouble:
            self._trouble[lane].probe_at_ms = now_ms

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When `take` may have something new although no row changed; None if never."""
        times = [self._later[0][0]] if self._later else []
        times += [trouble.probe_at_ms for trouble in self._trouble.values() if trouble.probe_at_ms > now_ms]
        return min(times, default=None)

    # ---- bookkeeping

    def _group(self, effect: Effect) -> _Lane:
        place = (effect.lane, effect.kind)
        found = self._lanes.get(place)
        if found is None:
            found = self._lanes[place] = _Lane()
        return found

    def _owe(self, before: Iterable[Effect], after: Iterable[Effect]) -> None:
        """What a row says is owed, in the place of what it said before."""
        for effect in before:
            self._wanted.pop(effect.key, None)
            self._group(effect).waiting.pop(effect.key, None)
        for effect in after:
            self._wanted[effect.key] = effect
            if effect.key not in self._running:
                self._wait(effect)
        for effect in before:
            if effect.key not in self._wanted:
                self._failed_in_row.pop(effect.key, None)

    def _wait(self, effect: Effect) -> None:
        self._group(effect).waiting[effect.key] = effect

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
            "uploads": sum(len(self._uploads_of(row)) for row in self._images.values()),
            "running": len(self._running),
        }

    def standing(self) -> OpenWorkSummary:
        troubles = {lane: trouble.code for lane, trouble in self._trouble.items()}
        kinds = (effect.kind for effect in self._running.values())
        return summary_of(self._batches.values(), self._prompts.values(), kinds, self._paused, troubles)


def _next_submit(row: PromptRow) -> SubmitPrompt:
    return SubmitPrompt(row.batch_id, row.index, row.attempt + 1, row.backend)
