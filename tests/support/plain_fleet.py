"""Several boxes over one plain ledger, each with its own index of what is owed, and the stores that they share. Every
box sees every commit at once, unless it sleeps; a box that died has nothing in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import GiveUpBox, JoinBox, LeaveBox
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import OrphanBroughtBack, OrphanIsLost, OrphanReport, PromptHasFailed, PromptIsLeft
from comfyledger.core.rows import ImageRow, Row, RowId, row_id
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import DeleteImage, UploadImage
from support.core_builders import PlainLedger, unwanted, uploaded, uploading
from support.plain_engine import PlainEngine

ORPHAN_AFTER_MS = 60_000


ADOPTING = "cloud"
"""The store that takes other bytes of one image for an earlier rendering of it; others report a collision."""


class Begun(NamedTuple):
    """An upload that a box was told to begin, when the log had so many events."""

    position: int
    box: str
    batch_id: str
    image: int
    store: str


class PlainFleet:
    """`backends`: of each box, by its name, without the name of the box. All boxes have joined."""

    def __init__(self, backends: Mapping[str, Collection[str]], depth: int = 2) -> None:
        self.ledger = PlainLedger()
        self.stored: dict[tuple[str, str], str] = {}
        """What each store has under a name: the sha256. Nothing is ever overwritten."""
        self.begun: list[Begun] = []
        self.deciders: list[str] = []
        """Which box decided each event of the log."""
        self.late: list[tuple[str, Message]] = []
        """What boxes have found out and not reported yet."""
        named = {box: [f"{box}.{one}" for one in its] for box, its in backends.items()}
        every = {name: frozenset[str]() for its in named.values() for name in its}
        self.boxes = {
            box: PlainBox(
                self, Limits(dict.fromkeys(its, depth), every, box=box, orphan_after_ms=ORPHAN_AFTER_MS, uploads_max=8)
            )
            for box, its in named.items()
        }
        for box in self.boxes.values():
            box.join()

    def __getitem__(self, box: str) -> PlainBox:
        return self.boxes[box]

    def row(self, box: str) -> BoxRow:
        return self.ledger.rows["box", box, ""]  # type: ignore[return-value]

    def present(self) -> list[PlainBox]:
        return [box for name, box in sorted(self.boxes.items()) if self.row(name).present]

    def awake(self) -> list[PlainBox]:
        """Those of them that do something."""
        return [box for box in self.present() if not box.is_asleep]

    def declare_left(self, box: str) -> PlainFleet:
        """Another box says that a box left."""
        other = next(one for one in self.awake() if one.name != box)
        other.post(LeaveBox("fleet", box, self.row(box).term, "lease"))
        return self

    def give_up(self, box: str) -> PlainFleet:
        self.awake()[0].post(GiveUpBox("cli", box))
        return self

    def put(self, box: str, image: ImageRow, store: str) -> bool:
        """Put a file into a store. Returns whether the store has it, or an earlier rendering that it has is adopted."""
        self.begun.append(Begun(len(self.ledger.log), box, image.batch_id, image.index, store))
        found = self.stored.setdefault((store, image.public_id), image.sha256)
        return found == image.sha256 or store == ADOPTING

    def has(self, image: ImageRow) -> bool:
        """Whether a store of an image has its bytes."""
        return any(self.stored.get((one.store, image.public_id)) == image.sha256 for one in image.uploads)

    def wait(self, ms: int) -> PlainFleet:
        for box in self.boxes.values():
            box.wait(ms)
        return self

    def work(self, rounds: int = 400) -> PlainFleet:
        """All boxes that are awake do all that is owed, in turns, until nothing is owed to any of them."""
        for _ in range(rounds):
            if not sum([box.work_once() for box in self.awake()]):
                wakes = [at for box in self.awake() if (at := box.owed.wake_at_ms(box.now_ms)) is not None]
                if not wakes:
                    return self
                self.wait(max(1, min(wakes) - self.awake()[0].now_ms))
        raise AssertionError(f"still owed: {[list(box.running) for box in self.awake()]}")


class PlainBox(PlainEngine):
    """One box. While it sleeps, it neither hears nor says anything."""

    def __init__(self, fleet: PlainFleet, limits: Limits) -> None:
        super().__init__(limits, fleet.ledger)
        self.fleet, self.name, self.term = fleet, limits.box, 0
        self.is_asleep = False
        self.is_dead = False
        self.fenced = 0
        """How many messages did not count, because of their term."""
        self._unheard: dict[RowId, Row] = {}

    def join(self) -> PlainBox:
        """Take part in a new term."""
        self.wake()
        self.term = self.fleet.row(self.name).term + 1 if ("box", self.name, "") in self.ledger.rows else 1
        (answer,) = self.post(JoinBox("fleet", self.name))
        assert answer.term == self.term
        return self

    def fall_asleep(self) -> PlainBox:
        self.is_asleep = True
        return self

    def wake(self) -> PlainBox:
        """Hear what happened meanwhile. If it was declared left, it has to join."""
        self.is_asleep = False
        self.owed.apply(self._unheard.values(), self.now_ms)
        self._unheard.clear()
        return self

    def die(self) -> PlainBox:
        self.running.clear()
        self.is_dead = True
        return self.fall_asleep()

    def start(self) -> PlainBox:
        """After it died: fill the index anew, and join."""
        self._unheard.clear()
        self.is_dead = False
        self.restart()
        return self.join()

    def post(self, *messages: Message | Iterable[Message]) -> list[Any]:
        """What counts no more changes nothing, and its answers are None."""
        flat = [one for each in messages for one in (each if isinstance(each, Iterable) else (each,))]
        policy = Policy(box=self.name, term=self.term)
        joins = all(isinstance(one, JoinBox) for one in flat)
        if not joins and policy.is_fenced(self.fleet.row(self.name)):
            self.fenced += len(flat)
            return [None] * len(flat)
        self.ledger.policy = policy
        answers = super().post(*flat)
        self.fleet.deciders += [self.name] * (len(self.ledger.log) - len(self.fleet.deciders))
        return answers

    def take_in(self, rows: Collection[Row]) -> None:
        """Every box hears it."""
        for box in self.fleet.boxes.values():
            box.hear(rows)

    def hear(self, rows: Collection[Row]) -> None:
        if self.is_asleep:
            self._unheard |= {row_id(row): row for row in rows}
        else:
            self.owed.apply(rows, self.now_ms)

    def upload(self, effect: UploadImage) -> None:
        about, batch = (effect.image.index, effect.store), effect.image.batch_id
        is_stored = self.put(effect)
        if is_stored is not None:
            self.post(uploaded(*about, batch=batch) if is_stored else unwanted(*about, batch=batch))

    def put(self, effect: UploadImage) -> bool | None:
        """Put an image into its store without a report. None if that is not wanted."""
        about, batch = (effect.image.index, effect.store), effect.image.batch_id
        if not self.go(uploading(*about, batch=batch)):
            return None
        return self.fleet.put(self.name, self.ledger.image(about[0], batch), effect.store)

    def delete(self, effect: DeleteImage) -> None:
        self.fleet.stored.pop((effect.store, effect.image.public_id), None)
        super().delete(effect)

    def work_once(self) -> int:
        """Do what is owed now; move what is due, and take up orphans. Returns how much was done."""
        self.take()
        running = list(self.running.values())
        for effect in running:
            self.perform(effect)
        return len(running) + self.move() + self.take_up_orphans()

    def move(self) -> int:
        """Leave behind what is due, as the mover does. Returns how many events came of it."""
        before = len(self.ledger.log)
        for row in self.owed.moves.given_up():
            about = (row.batch_id, row.index, row.attempt)
            self.post(PromptHasFailed(*about, "file_missing") if row.waiting else PromptIsLeft(*about, "removed"))
        for row in self.owed.moves_due(self.now_ms):
            self.post(PromptIsLeft(row.batch_id, row.index, row.attempt, "away"))
        return len(self.ledger.log) - before

    def take_up_orphans(self) -> int:
        """Get from a store what has it; the rest is lost. Returns how many events came of it."""
        before = len(self.ledger.log)
        self.post(self.about_orphans())
        return len(self.ledger.log) - before

    def about_orphans(self) -> list[OrphanReport]:
        """What is to be reported of the orphans that are due now."""
        rows = self.owed.orphans_due(self.now_ms)
        return [
            (OrphanBroughtBack if self.fleet.has(row) else OrphanIsLost)(
                row.batch_id, row.index, row.prompt, row.attempt, row.box
            )
            for row in rows
        ]
