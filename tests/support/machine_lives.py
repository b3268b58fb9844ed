"""The moves of a ledger that is older than one life: backed up, restored, made anew, mended, and told to forget.

A restore takes the model back to the moment of the backup, but for two things: a number that was ever given, in
whichever life, is never given again, and what was forgotten stays forgotten as long as the old ledger can tell.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec.structs import replace

from comfyledger.core.commands import RaiseSeries, SeriesFound, SubmitBatch
from comfyledger.core.media import Medium
from comfyledger.core.results import Accepted, Changed, Forgotten, Raised
from comfyledger.core.values import VerdictAsked
from comfyledger.ledger.eventlog import Line
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.rebuild import rebuild
from comfyledger.maintenance.restore import Wanted, restore
from support.core_builders import dropping, forget, owing, reviewing
from support.ledger_builders import FOLDER, NOW_MS, log_of, raw, rows_in
from support.machine_engine import MachineEngine
from support.machine_messages import BOTH, KEYS, SPELLED, STORE_HOLDS, at_a_glance, in_series, named
from support.machine_model import Image, Model

MARGIN = 3
FORGOTTEN = {"forgetting", "forgotten"}
DROPPED = {"kept": {"kept", "parked"}}
OWED = {"stored": {"kept"}, "parked": {"kept"}}
BROKEN = (
    "DELETE FROM images WHERE image = 1",
    "UPDATE series SET next = 1",
    "DELETE FROM names_given",
    "UPDATE inputs SET row = '{}'",
    "DELETE FROM input_labels",
    "UPDATE input_uses SET ended_ms = 7",
    "DELETE FROM image_uses",
    "DELETE FROM reviews",
    "UPDATE reviews SET rating = 7",
)

VERDICTS: tuple[VerdictAsked | None, ...] = (None, "approved", "rejected", "none")

which = st.integers(0, 30)


@dataclass
class Past:
    """A backup, and what was so when it was made."""

    file: Path
    log: list[Line]
    model: Model
    put: set[tuple[str, int, str]]
    answered: list[SubmitBatch]


class Lives(RuleBasedStateMachine):
    """Mixed into the machine of one life, which has the moves that these are made of."""

    folder: Path
    life: MachineEngine
    model: Model
    put: set[tuple[str, int, str]]
    """What was uploaded: batch, image and store."""
    answered: list[SubmitBatch]

    @abstractmethod
    def play(self, move: Coroutine[Any, Any, None]) -> None:
        """Run one move to its end."""

    @abstractmethod
    async def open(self, path: Path) -> None:
        """Begin a life on the ledger at this path."""

    @abstractmethod
    def asked_stores(self) -> None:
        """From now on stores answer what they hold."""

    @abstractmethod
    def command(self, who: tuple[str, str], quantity: int, request: str, **more: Any) -> SubmitBatch:
        """A batch that somebody asks for, under a number of its own."""

    @abstractmethod
    def take(self, command: SubmitBatch, answer: Any) -> None:
        """Hold an answer to a batch against the model."""

    @abstractmethod
    def some_batch(self, number: int) -> str:
        """The batch of a number that was drawn."""

    @abstractmethod
    def sized(self, batch_id: str, images: tuple[int, ...]) -> tuple[int, ...]:
        """Those of these images that the batch has."""

    def __init__(self) -> None:
        self.pasts: list[Past] = []
        self.lives = 1
        super().__init__()

    # ---- backups

    @rule()
    def back_up(self) -> None:
        """Beside the running daemon."""
        view = self.life.engine.view
        copied = backup(self.life.path, self.folder / f"{len(self.pasts)}.db", 0.0, silent)
        assert (copied.ledger_id, copied.epoch, copied.position) == (view.ledger_id, view.epoch, view.position)
        file = Path(copied.file)
        model, put, answered = copy.deepcopy(self.model), set(self.put), list(self.answered)
        self.pasts.append(Past(file, log_of(file), model, put, answered))

    @precondition(lambda self: self.pasts)
    @rule(number=which, lost=st.booleans())
    def restore(self, number: int, lost: bool) -> None:
        self.play(self.goes_back(self.pasts[number % len(self.pasts)], lost))

    async def goes_back(self, past: Past, lost: bool) -> None:
        """`lost`: nothing is left of the old ledger; then the margin must be above all that was given."""
        await self.life.stop()
        goes_on = log_of(self.life.path)[: len(past.log)] == past.log
        if lost:
            for file in self.life.path.parent.glob("ledger.db*"):
                file.unlink()
        margin = max((number for _, number in self.model.ever), default=0) if lost else MARGIN
        restored = await restore(self.wanted(past.file, margin), silent)
        assert (restored.position_before, restored.aside == "") == (len(past.log), lost)
        assert log_of(self.life.path)[: len(past.log)] == past.log
        after = self.recall(past, lost, goes_on, margin)
        await self.open(self.life.path)
        assert self.life.engine.view.epoch == f"life {self.lives}"
        await self.ask_both(past, after)

    def wanted(self, file: Path, margin: int) -> Wanted:
        self.lives += 1
        path, spool = self.life.path, self.folder / "spool"
        epoch, now_ms = f"life {self.lives}", NOW_MS + self.lives * 1_000
        return Wanted(file, path, spool, None, epoch, now_ms, by="cli", margin=margin, replace=True)

    def recall(self, past: Past, lost: bool, goes_on: bool, margin: int) -> list[SubmitBatch]:
        """The model as it was then. Returns the batches that were answered after it.

        `goes_on`: the old ledger continued the backup. Another one does not tell of every series that began after it.
        """
        states, _ = at_a_glance(self.life.path)
        rows = {KEYS[row.key]: row for row in in_series(self.life.path)}
        model = copy.deepcopy(past.model)
        model.images = self.model.forgotten_since(model.images, set() if lost else FORGOTTEN, states)
        model.held -= {batch for batch in model.held if model.settled(batch)}
        model.ever = self.model.ever
        first = past.model.first if lost else max(self.model.first, past.model.first)
        model.first = first if goes_on and not lost else first + margin
        model.goes_on_with({series: row.next for series, row in rows.items()}, 0 if lost else margin)
        model.unasked = {series for series, row in rows.items() if not row.open}
        after = self.answered[len(past.answered) :] if self.answered[: len(past.answered)] == past.answered else []
        self.model, self.put, self.answered = model, set(past.put), list(past.answered)
        return after

    async def ask_both(self, past: Past, after: list[SubmitBatch]) -> None:
        """A request from before has its answer; one from after it is as good as new."""
        self.asked_stores()
        commands = [
            replace(one, batch_id=f"{one.batch_id} in life {self.lives}") for one in (*past.answered[:1], *after[:1])
        ]
        for command, answer in zip(commands, await self.life.send(*commands), strict=True):
            assert isinstance(answer, Accepted)
            assert answer.repeated == ((command.label, command.request_id) in past.model.answered)
            self.take(command, answer)

    @rule(broken=st.sampled_from(BROKEN))
    def rebuild(self, broken: str) -> None:
        async def move() -> None:
            before, log = rows_in(self.life.path), log_of(self.life.path)
            await self.life.stop()
            stranger = raw(self.life.path)
            stranger.execute(broken)
            stranger.close()
            assert rebuild(self.life.path, silent) == len(log)
            assert (rows_in(self.life.path), log_of(self.life.path)) == (before, log)
            await self.open(self.life.path)

        self.play(move())

    # ---- mending and forgetting

    async def steers(self, command: Any, chosen: Iterable[Image], allowed: dict[str, set[str]]) -> Any:
        """A command that may change these images in these ways, and no other."""
        (answer,) = await self.life.send(command)
        self.model.steered(*at_a_glance(self.life.path), set(chosen), allowed)
        return answer

    @precondition(lambda self: self.model.images)
    @rule(number=which, images=st.lists(st.integers(1, 4), max_size=2).map(tuple), stores=st.booleans())
    def forget(self, number: int, images: tuple[int, ...], stores: bool) -> None:
        batch = self.some_batch(number)
        chosen = self.model.of(batch, self.sized(batch, images))
        new = len(chosen) - len(self.model.in_state(chosen, *FORGOTTEN))
        allowed = dict.fromkeys(set(self.model.images.values()), FORGOTTEN)
        if not stores:
            allowed.pop("forgotten", None)

        async def move() -> None:
            command = forget(*self.sized(batch, images), batch=batch, stores=stores)
            answer = await self.steers(command, chosen, allowed)
            assert isinstance(answer, Forgotten)
            assert answer.images >= new
            assert set(self.model.in_state(chosen, *FORGOTTEN)) == set(chosen)

        self.play(move())

    @precondition(lambda self: self.model.images)
    @rule(
        number=which,
        images=st.lists(st.integers(1, 4), max_size=2).map(tuple),
        verdict=st.sampled_from(VERDICTS),
        rating=st.sampled_from([None, 0, 4]),
    )
    def review(self, number: int, images: tuple[int, ...], verdict: VerdictAsked | None, rating: int | None) -> None:
        """No image goes elsewhere by a review, and its repeat changes nothing."""
        batch = self.some_batch(number)
        chosen = self.model.of(batch, self.sized(batch, images))

        async def move() -> None:
            named = [f"{batch}/{index}" for _, index in chosen]
            command = reviewing(*named, verdict=verdict, rating=rating)
            answer = await self.steers(command, chosen, {})
            if len(self.model.in_state(chosen, "kept", "stored")) == len(chosen):
                assert isinstance(answer, Changed)
            if isinstance(answer, Changed):
                assert (await self.steers(command, chosen, {})).images == 0
            else:
                assert answer.code == "no_file"

        self.play(move())

    @precondition(lambda self: self.model.images)
    @rule(number=which, drops=st.booleans())
    def give_up_or_owe_the_store(self, number: int, drops: bool) -> None:
        batch = self.some_batch(number)
        images = self.model.of(batch)
        moving = self.model.in_state(images, "stored", "parked")

        async def move() -> None:
            if drops:
                answer = await self.steers(dropping("folder", batch), images, DROPPED)
            else:
                indexes = tuple(index for _, index in images)
                owe = replace(owing(*indexes, batch=batch), store=FOLDER)
                answer = await self.steers(owe, images, OWED)
                self.put -= {(*image, "folder") for image in moving}
                assert answer.images >= len(moving)
            assert isinstance(answer, Changed)

        self.play(move())

    @rule(who=st.sampled_from(sorted(SPELLED)), above=st.integers(0, 5), medium=st.sampled_from(BOTH))
    def raise_the_series(self, who: tuple[str, str], above: int, medium: Medium) -> None:
        """An import of the store, which may hold more than it did."""

        async def move() -> None:
            (series,) = named(SPELLED[who], (medium,))
            highest = STORE_HOLDS[series] + above
            (asked,) = self.command(who, 1, "import", media=(medium,)).series
            (answer,) = await self.life.send(RaiseSeries("app", FOLDER, (SeriesFound(asked, highest),)))
            assert isinstance(answer, Raised)
            self.model.raised(series, highest)

        self.play(move())
