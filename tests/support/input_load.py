"""Random messages about input files, and about images that other prompts load, for the load of a ledger."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Literal

from msgspec.structs import replace

from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.decide.decide import Message
from comfyledger.core.inputs import InputCopy, InputRow
from comfyledger.core.keys import ImageKey, InputKey
from comfyledger.core.reports import InputGone, InputRemoving, InputSending, InputUnused, SourceEnded, SourcesFound
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import Blob, ImageAt, LoadedFile
from support.core_builders import name_of
from support.ledger_builders import Rows

INPUTS: Final = tuple(digit * 64 for digit in "abcd")
OF_AN_IMAGE: Final = "5" * 64
"""The bytes of every image of the load."""
REASONS: Final[tuple[Literal["forgotten", "expired", "quota"], ...]] = ("forgotten", "expired", "quota")
AT: Final = ("5.image", "6.image")


class InputLoad:
    """Most messages fit how the input is; some are late, doubled or foreign."""

    def __init__(self, ledger: Rows, chance: random.Random) -> None:
        self._ledger = ledger
        self._random = chance

    def loads(self, batches: Sequence[str]) -> tuple[LoadedFile, ...]:
        """What a new batch loads, if anything: inputs that are there, and images of other batches."""
        kinds = self._random.choice([(), (), (), ("input",), ("source",), ("source", "input")])
        made = [self._input() if kind == "input" else self._source(batches) for kind in kinds]
        return tuple(replace(load, at=at) for at, load in zip(AT, made, strict=False) if load is not None)

    def _input(self) -> LoadedFile | None:
        usable = [row for sha256 in INPUTS if (row := self._row(sha256)) is not None and row.is_usable]
        row = self._random.choice(usable) if usable else None
        return LoadedFile("", None, row.sha256, row.extension, row.size_bytes) if row is not None else None

    def _source(self, batches: Sequence[str]) -> LoadedFile | None:
        """Mostly one that has bytes, if the first that are looked at have any."""
        if not batches:
            return None
        some = [ImageAt(batch_id, self._random.randint(1, 2)) for batch_id in self._random.choices(batches[-6:], k=6)]
        rendered = [one for one in some if (row := self._image(one)) is not None and row.sha256]
        return LoadedFile("", self._random.choice(rendered or some))

    def _row(self, sha256: str) -> InputRow | None:
        return self._ledger.load((InputKey(sha256),)).input(sha256)

    def about_an_input(self, batch_id: str) -> Message:
        sha256 = self._random.choice((*INPUTS, OF_AN_IMAGE))
        row = self._row(sha256)
        if row is not None and row.is_going and self._random.random() < 0.7:
            return self._removal(row)
        backend = self._random.choice(["main", "big"])
        source = ImageAt(batch_id, self._random.randint(1, 2)) if sha256 == OF_AN_IMAGE else None
        made: list[Message] = [
            *[InputSending(sha256, "png", 7, backend, name_of(sha256), source)] * 2,
            InputUnused(sha256, self._random.choice(REASONS)),
            InputUnused(sha256, "forgotten" if row is not None and row.forgetting else "expired"),
            InputRemoving(sha256, backend, name_of(sha256)),
            InputGone(sha256, backend, name_of(sha256)),
            *(self._command(row, sha256) if sha256 != OF_AN_IMAGE else ()),
        ]
        return self._random.choice(made)

    def _command(self, row: InputRow | None, sha256: str) -> list[Message]:
        label = self._random.choice(["app", "other"])
        add = AddInput(label, sha256, 7, "png", 4, 2, "whole")
        if row is None or not row.is_usable:
            return [add] * 6
        labels = self._random.choice([(), (label,)])
        return [add, *([ForgetInput(label, sha256, labels)] if self._random.random() < 0.4 else ())]

    def _removal(self, row: InputRow) -> Message:
        """Of one of the places that it is to be removed from."""
        removing = [copy for copy in row.copies if copy.state == "removing"]
        here = [InputCopy("", "")] if row.here == "removing" else []
        one = self._random.choice([*removing, *here])
        return InputGone(row.sha256, one.backend, one.name, self._random.random() < 0.7)

    def about_sources(self, prompt: PromptRow, words: Blob) -> Message:
        """What became of the images that a prompt waits for."""
        source = next(load.source for load in prompt.loads if load.source is not None)
        if self._random.random() < 0.2:
            return SourceEnded(prompt.batch_id, prompt.index, source, words)
        return SourcesFound(prompt.batch_id, prompt.index, self._found(prompt))

    def _found(self, prompt: PromptRow) -> tuple[LoadedFile, ...]:
        """With the bytes of the images as they are now."""
        return tuple(load if load.source is None else self._with_bytes(load, load.source) for load in prompt.loads)

    def _image(self, at: ImageAt) -> ImageRow | None:
        return self._ledger.load((ImageKey(at.batch_id, at.image),)).image(at.batch_id, at.image)

    def _with_bytes(self, load: LoadedFile, source: ImageAt) -> LoadedFile:
        image = self._image(source)
        if image is None:
            return load
        return replace(load, sha256=image.sha256, extension=image.extension, size_bytes=image.size_bytes)
