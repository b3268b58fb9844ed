"""Who does what in a fleet: each effect is that of one box that is present, or of none.

A box does the effects of its own ComfyUIs, and those of the images that it keeps. The *caretaker*, the first by name of
the boxes that are present, does what belongs to nobody else: it looks for sources, has stores delete forgotten images
of boxes that left, moves prompts away from these boxes, and takes up what they kept.

What is from before the fleet names no box. It is the founder's, the box with whose ledger the fleet began.

The bytes of an input are in the folder of each box that needed them. The caretaker removes its own and reports that, so
that the log says it once; every other box removes its own when it hears that the input was erased, and sweeps its
folder when it starts.

Without a fleet there is one box, which does everything.
"""

from __future__ import annotations

from typing import Final

from comfyledger.core.backends import box_of
from comfyledger.core.boxes import BoxRow
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.scheduling.effects import (
    PromptEffect,
    RemoveInput,
    StoreEffect,
    effects_of_image,
    effects_of_input,
    effects_of_prompt,
)


class Ownership:
    """As seen by one box. `box`: its name; empty without a fleet."""

    def __init__(self, box: str) -> None:
        self.box: Final = box
        self.is_alone: Final = not box
        self.is_caretaker = self.is_alone
        self._present: frozenset[str] = frozenset()
        self._rows: dict[str, BoxRow] = {}
        self._gone_since_ms: dict[str, int] = {}
        self._founder = ""
        self.of_prompt: Final = effects_of_prompt if self.is_alone else self._own_of_prompt
        """The effects of a prompt that this box does."""
        self.of_image: Final = effects_of_image if self.is_alone else self._own_of_image
        """The effects of an image that this box does. A file of a box that left is uploaded by nobody."""
        self.of_input: Final = effects_of_input if self.is_alone else self._own_of_input
        """The removals of an input that this box does."""

    def apply(self, row: BoxRow, now_ms: int) -> None:
        """Take in a box as it is after a commit."""
        self._rows[row.name] = row
        if row.founder:
            self._founder = row.name
        if row.present:
            self._gone_since_ms.pop(row.name, None)
        else:
            self._gone_since_ms.setdefault(row.name, now_ms)
        self._present = frozenset(name for name, one in self._rows.items() if one.present)
        self.is_caretaker = self.box == min(self._present, default="")

    @property
    def is_out(self) -> bool:
        """Whether this box was declared left, or has not joined yet."""
        return self.is_gone(self.box)

    @property
    def rank(self) -> int:
        """How many boxes come before this one, by name."""
        return sum(name < self.box for name in self._present)

    def of_backend(self, backend: str) -> str:
        """The box that a backend belongs to."""
        return box_of(backend) or self._founder

    def keeper_of(self, row: ImageRow) -> str:
        """The box whose spool has the file of an image."""
        return row.box or self._founder

    def is_gone(self, box: str) -> bool:
        """Whether what is at a box waits for somebody: it left, or it is named from before the fleet."""
        return not self.is_alone and box not in self._present

    @property
    def given_up(self) -> frozenset[str]:
        """The boxes that were given up and are not back."""
        return frozenset(name for name, row in self._rows.items() if row.given_up)

    def overdue(self, after_ms: int, now_ms: int) -> list[str]:
        """The boxes that left and are not waited for any longer: for so long, as far as this box saw it, or because
        they were given up.
        """
        since, given_up = self._gone_since_ms.items(), self.given_up
        return [box for box, since_ms in since if box in given_up or now_ms - since_ms >= after_ms]

    def has_backend(self, backend: str) -> bool:
        """Whether this box does the effects at a backend."""
        return self.is_alone or self._does(self.of_backend(backend))

    def _does(self, box: str) -> bool:
        """A box that was declared left does nothing until it has joined again."""
        return (box == self.box and box in self._present) or (not box and self.is_caretaker)

    def _own_of_prompt(self, row: PromptRow) -> tuple[PromptEffect, ...]:
        return tuple(effect for effect in effects_of_prompt(row) if self.has_backend(effect.backend))

    def _own_of_image(self, row: ImageRow) -> list[StoreEffect]:
        box = self.keeper_of(row)
        is_for_caretaker = row.state == "forgetting" and self.is_caretaker and self.is_gone(box)
        return effects_of_image(row) if self._does(box) or is_for_caretaker else []

    def _own_of_input(self, row: InputRow) -> list[RemoveInput]:
        return [effect for effect in effects_of_input(row) if self._removes(effect.backend)]

    def _removes(self, backend: str) -> bool:
        return self.has_backend(backend) if backend else self.is_caretaker
