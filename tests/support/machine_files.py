"""The moves of input files and of chains: added, loaded, forgotten and erased, and images that are made from others.

What a command must answer is told from the rows before it. `input_checks` says what must be so of them at any time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec.structs import replace

from comfyledger.core.commands import AddInput, ForgetInput, SubmitBatch
from comfyledger.core.decide.sources import has_bytes, has_ended
from comfyledger.core.inputs import InputRow
from comfyledger.core.reports import InputGone, InputRemoving, InputSending, InputUnused, SourceEnded, SourcesFound
from comfyledger.core.results import Changed, InputKnown, Wanted
from comfyledger.core.rows import ImageRow, PromptRow, Row, RowId
from comfyledger.core.scheduling.effects import FindSources, RemoveInput
from comfyledger.core.values import ImageAt, LoadedFile, blob_of
from comfyledger.errors import Refused
from comfyledger.ledger.sqlite import image_uses, input_rows
from support.core_builders import name_of, retry
from support.ledger_builders import NOW_MS, raw, rows_in
from support.machine_engine import MachineEngine
from support.machine_messages import SPELLED, at_a_glance
from support.machine_model import Model

INPUTS: Final = tuple(digit * 64 for digit in "abc")
LABELS: Final = ("app", "bot")

which = st.integers(0, 30)


class Files(RuleBasedStateMachine):
    """Mixed into the machine of one life, which has the moves that these are made of."""

    life: MachineEngine
    model: Model

    @abstractmethod
    def play(self, move: Coroutine[Any, Any, None]) -> None:
        """Run one move to its end."""

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
    def worked(self) -> None:
        """Workers may have moved images forward."""

    def input(self, sha256: str) -> InputRow:
        row = rows_in(self.life.path).get(("input", sha256, ""))
        return row if isinstance(row, InputRow) else InputRow(sha256, "png")

    # ---- inputs

    @rule(sha256=st.sampled_from(INPUTS), label=st.sampled_from(LABELS))
    def add_an_input(self, sha256: str, label: str) -> None:
        async def move() -> None:
            before = self.input(sha256)
            (answer,) = await self.life.send(AddInput(label, sha256, 7, "png", 4, 2, "whole"))
            assert answer == InputKnown(sha256, new=not (before.is_usable and label in before.labels))
            after = self.input(sha256)
            assert (set(after.labels), after.is_usable) == ({*before.labels, label}, True)

        self.play(move())

    @rule(sha256=st.sampled_from(INPUTS), label=st.sampled_from(LABELS), for_all=st.booleans())
    def forget_an_input(self, sha256: str, label: str, for_all: bool) -> None:
        async def move() -> None:
            before = self.input(sha256)
            gone = {one for one in before.every_label if for_all or one == label}
            (answer,) = await self.life.send(ForgetInput(label, sha256, () if for_all else (label,)))
            if not gone:
                assert (type(answer), answer.code) == (Refused, "input_missing")
                return
            assert answer == Changed(1)
            after = self.input(sha256)
            assert set(after.every_label) == set(before.every_label) - gone
            assert after.is_usable == (before.is_usable and bool(after.labels))

        self.play(move())

    @rule(later=st.booleans())
    def erase_what_nothing_needs(self, later: bool) -> None:
        """What a sweep finds is erased, as nothing has changed since."""

        async def move() -> None:
            before_ms = NOW_MS + 1_000_000 if later else 0
            with closing(raw(self.life.path)) as connection:
                ending = input_rows.ending(connection, 100)
                idle, _ = input_rows.idle(connection, before_ms, "", [], 100)
            for row in (*ending, *(row for _, row in idle)):
                reason: Any = "forgotten" if row.forgetting else "expired"
                assert await self.life.send(InputUnused(row.sha256, reason)) == [Wanted(go=True)]
                assert self.input(row.sha256).here in {"", "removing"}

        self.play(move())

    @rule(sha256=st.sampled_from(INPUTS), backend=st.sampled_from(["main", "big"]))
    def send_an_input(self, sha256: str, backend: str) -> None:
        async def move() -> None:
            before = self.input(sha256)
            (answer,) = await self.life.send(InputSending(sha256, "png", 7, backend, name_of(sha256), None))
            assert answer.go or not before.is_usable
            copy = self.input(sha256).copy_at(backend, name_of(sha256))
            assert not answer.go or (copy is not None and copy.state == "sent")

        self.play(move())

    # ---- batches that load files

    @rule(
        who=st.sampled_from(sorted(SPELLED)),
        quantity=st.integers(1, 3),
        picks=st.lists(which, min_size=1, max_size=3),
        label=st.sampled_from(LABELS),
    )
    def submit_what_loads_files(self, who: tuple[str, str], quantity: int, picks: list[int], label: str) -> None:
        """Inputs, also such as are not there; and images, whatever has become of them."""

        async def move() -> None:
            self.asked_stores()
            images = sorted(self.model.images)
            named: list[Any] = [*INPUTS, *(images[pick % len(images)] for pick in picks if images)]
            chosen = dict.fromkeys(named[pick % len(named)] for pick in picks)
            loads = tuple(_load(f"{place}.image", one) for place, one in enumerate(chosen))
            asked = self.command(who, quantity, f"loading {len(self.model.answered)}", label=label)
            command = replace(asked, prompts=tuple(replace(prompt, loads=loads) for prompt in asked.prompts))
            lacking = any(not self.input(load.sha256).is_usable for load in loads if load.source is None)
            (answer,) = await self.life.send(command)
            if lacking:
                assert (type(answer), answer.code) == (Refused, "input_missing")
            else:
                self.take(command, answer)

        self.play(move())

    @precondition(lambda self: self.model.images)
    @rule(number=which)
    def retry_with_what_is_made_from_it(self, number: int) -> None:
        """Of the batches that are made from it, only what failed for want of an input may be taken up."""
        batch = self.some_batch(number)

        async def move() -> None:
            with closing(raw(self.life.path)) as connection:
                also = image_uses.dependents(connection, batch, None).found
            before = rows_in(self.life.path)
            if self.model.retry(batch, ()) is None:
                return
            (answer,) = await self.life.send(replace(retry(batch=batch), also=also))
            assert isinstance(answer, Changed)
            states, held = at_a_glance(self.life.path)
            others = {one.batch_id for one in also} - {batch}
            for image, state in self.model.images.items():
                row = before["image", *image]
                may = image[0] in others and isinstance(row, ImageRow) and row.code == "input_failed"
                assert states[image] == state or (may and (state, states[image]) == ("failed", "pending"))
            assert held == self.model.held
            self.model.images = dict(states)

        self.play(move())

    # ---- workers

    async def sees_to(self, effect: FindSources | RemoveInput) -> None:
        match effect:
            case FindSources():
                await self.looks_for_sources(effect)
            case RemoveInput():
                await self.removes_an_input(effect)

    async def looks_for_sources(self, effect: FindSources) -> None:
        """As the worker does: reports what it finds, and nothing as long as a source may still come."""
        rows = rows_in(self.life.path)
        sources = [load.source for load in effect.loads if load.source is not None]
        over = next((one for one in sources if has_ended(_image(rows, one))), None)
        if over is not None:
            words = blob_of(b"it ended", f"salt {self.life.engine.view.position}".encode())
            await self.life.send(SourceEnded(effect.batch_id, effect.prompt, over, words))
        elif all(has_bytes(_image(rows, one)) for one in sources):
            loads = tuple(load if load.source is None else _found(load, rows) for load in effect.loads)
            await self.life.send(SourcesFound(effect.batch_id, effect.prompt, loads))
        self.worked()

    async def removes_an_input(self, effect: RemoveInput) -> None:
        (answer,) = await self.life.send(InputRemoving(effect.sha256, effect.backend, effect.name))
        assert isinstance(answer, Wanted)
        if answer.go:
            await self.life.send(InputGone(effect.sha256, effect.backend, effect.name))

    # ---- in the end

    def failed_for_want_of_a_source(self) -> set[tuple[str, int]]:
        """Images of prompts that one image they are made from has come to an end for."""
        rows = rows_in(self.life.path)
        prompts = [row for row in rows.values() if isinstance(row, PromptRow)]
        return {
            (prompt.batch_id, index)
            for prompt in prompts
            for index in prompt.images
            if any(load.source is not None and has_ended(_image(rows, load.source)) for load in prompt.loads)
        }


def _load(at: str, one: str | tuple[str, int]) -> LoadedFile:
    if isinstance(one, str):
        return LoadedFile(at, sha256=one, extension="png", size_bytes=7)
    return LoadedFile(at, ImageAt(*one))


def _image(rows: dict[RowId, Row], at: ImageAt) -> ImageRow | None:
    row = rows.get(("image", at.batch_id, at.image))
    return row if isinstance(row, ImageRow) else None


def _found(load: LoadedFile, rows: dict[RowId, Row]) -> LoadedFile:
    image = _image(rows, load.source) if load.source is not None else None
    assert image is not None
    return replace(load, sha256=image.sha256, extension=image.extension, size_bytes=image.size_bytes)
