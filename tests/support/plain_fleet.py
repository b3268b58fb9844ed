"""Several boxes over one plain ledger, each with its own index of what is owed. Every box sees every commit at once,
unless it sleeps; a box that died has nothing in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import GiveUpBox, JoinBox, LeaveBox
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import OrphanBroughtBack, OrphanIsLost, PromptHasFailed, PromptIsLeft
from comfyledger.core.rows import ImageRow, Row, RowId, row_id
from comfyledger.core.scheduling.capacity import Limits
from support.core_builders import PlainLedger
from support.plain_engine import PlainEngine

ORPHAN_AFTER_MS = 60_000


class PlainFleet:
    """`backends`: of each box, by its name, without the name of the box. All boxes have joined."""

    def __init__(self, backends: Mapping[str, Collection[str]], depth: int = 2) -> None:
        self.ledger = PlainLedger()
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

    @property
    def caretaker(self) -> PlainBox:
        return self.present()[0]

    def declare_left(self, box: str) -> PlainFleet:
        """The caretaker says that a box left, or a box that will be."""
        other = next(one for one in self.present() if one.name != box)
        other.post(LeaveBox("fleet", box, self.row(box).term, "lease"))
        return self

    def give_up(self, box: str) -> PlainFleet:
        self.caretaker.post(GiveUpBox("cli", box))
        return self

    def wait(self, ms: int) -> PlainFleet:
        for box in self.boxes.values():
            box.wait(ms)
        return self

    def work(self, rounds: int = 300) -> PlainFleet:
        """All boxes that are present do all that is owed, in turns, until nothing is owed to any of them."""
        for _ in range(rounds):
            if not sum([box.work_once() for box in self.present()]):
                wakes = [at for box in self.present() if (at := box.owed.wake_at_ms(box.now_ms)) is not None]
                if not wakes:
                    return self
                self.wait(max(1, min(wakes) - self.present()[0].now_ms))
        raise AssertionError(f"still owed: {[list(box.running) for box in self.present()]}")


class PlainBox(PlainEngine):
    """One box. `sleeps`: it neither hears nor says anything. `died`: and has lost its memory and what it ran."""

    def __init__(self, fleet: PlainFleet, limits: Limits) -> None:
        super().__init__(limits, fleet.ledger)
        self.fleet, self.name, self.term = fleet, limits.box, 0
        self.is_asleep = False
        self.fenced = 0
        """How many messages did not count, because of their term."""
        self._unheard: dict[RowId, Row] = {}

    def join(self) -> PlainBox:
        """Wake up, if it slept, and take part in a new term."""
        self.is_asleep = False
        self.owed.apply(self._unheard.values(), self.now_ms)
        self._unheard.clear()
        self.term = self.fleet.row(self.name).term + 1 if ("box", self.name, "") in self.ledger.rows else 1
        (answer,) = self.post(JoinBox("fleet", self.name))
        assert answer.term == self.term
        return self

    def fall_asleep(self) -> PlainBox:
        self.is_asleep = True
        return self

    def die(self) -> PlainBox:
        self.running.clear()
        return self.fall_asleep()

    def start(self) -> PlainBox:
        """After it died: fill the index anew, and join."""
        self._unheard.clear()
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
        return super().post(*flat)

    def take_in(self, rows: Collection[Row]) -> None:
        """Every box hears it."""
        for box in self.fleet.boxes.values():
            box.hear(rows)

    def hear(self, rows: Collection[Row]) -> None:
        if self.is_asleep:
            self._unheard |= {row_id(row): row for row in rows}
        else:
            self.owed.apply(rows, self.now_ms)

    def work_once(self) -> int:
        """Do what is owed now; move what is due, and take up orphans. Returns how much was done."""
        self.take()
        running = list(self.running.values())
        for effect in running:
            self.perform(effect)
        return len(running) + self.move() + self.take_up_orphans(found=False)

    def move(self) -> int:
        """Leave behind what is due, as the mover does. Returns how many prompts had news."""
        before = len(self.ledger.log)
        for row in self.owed.moves_due(self.now_ms):
            self.post(PromptIsLeft(row.batch_id, row.index, row.attempt, "away"))
        for row in self.owed.moves.given_up():
            about = (row.batch_id, row.index, row.attempt)
            self.post(PromptHasFailed(*about, "file_missing") if row.waiting else PromptIsLeft(*about, "removed"))
        return len(self.ledger.log) - before

    def take_up_orphans(self, *, found: bool) -> int:
        """`found`: whether a store has the bytes. Returns how many images were due."""
        due = self.owed.orphans_due(self.now_ms)
        for row in due:
            self.post((OrphanBroughtBack if found else OrphanIsLost)(*_about(row)))
        return len(due)


def _about(row: ImageRow) -> tuple[str, int, int, int, str]:
    return row.batch_id, row.index, row.prompt, row.attempt, row.box
