"""The rows about input files: where the bytes of each are, who may use it, and who does."""

from __future__ import annotations

from typing import Literal

import msgspec

from comfyledger.core.values import Checked

InputState = Literal["", "kept", "removing"]
InputCopyState = Literal["sent", "removing", "removed"]


class InputCopy(msgspec.Struct, frozen=True, gc=False):
    """A copy of an input at a backend. `name`: as ComfyUI has it, below its input folder."""

    backend: str
    name: str
    state: InputCopyState = "sent"


class InputRow(msgspec.Struct, frozen=True, gc=False):
    """A file given to ComfyUI, by its bytes: an input, or an image of the ledger that another prompt loads.

    `labels`: the clients that uploaded it and may name it. Of an image there are none, and nothing is kept.
    """

    sha256: str
    extension: str
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    checked: Checked = "whole"
    labels: tuple[str, ...] = ()
    here: InputState = ""
    """Whether the daemon has the bytes; empty if it has not."""
    forgetting: bool = False
    """Nobody may use it any more. It is erased once no open prompt needs it."""
    labels_before: tuple[str, ...] = ()
    """Those that had it when its bytes were erased here. They may still have its copies removed."""
    copies: tuple[InputCopy, ...] = ()
    """By backend and name; at most one of each. A loader that takes names from its list needs another name."""
    added_ms: int = 0
    """When it was uploaded last, in milliseconds since 1970."""
    also_named: dict[str, str] = {}
    """By label: the extension that it gave bytes of no known kind, if the file is kept under another."""
    box: str = ""
    """The box of the fleet to which it was uploaded last, and which keeps it. Others have copies as they need it. Empty
    without a fleet, and for what is from before it."""

    def extension_for(self, label: str) -> str:
        """The extension as a label gave it, so that it does not learn what another label did."""
        return self.also_named.get(label, self.extension)

    @property
    def is_usable(self) -> bool:
        """Whether a new batch may use it."""
        return self.here == "kept" and not self.forgetting

    @property
    def every_label(self) -> tuple[str, ...]:
        """The labels that have it, and those that had it before its bytes were erased here."""
        return tuple(sorted({*self.labels, *self.labels_before}))

    @property
    def is_ending(self) -> bool:
        """Whether it is to be erased as soon as no open prompt needs it."""
        return self.forgetting and (self.here == "kept" or any(copy.state == "sent" for copy in self.copies))

    @property
    def is_going(self) -> bool:
        """Whether bytes of it are still to be removed somewhere."""
        return self.here == "removing" or any(copy.state == "removing" for copy in self.copies)

    def copy_at(self, backend: str, name: str) -> InputCopy | None:
        return next((copy for copy in self.copies if (copy.backend, copy.name) == (backend, name)), None)


class InputUse(msgspec.Struct, frozen=True, gc=False):
    """Who uses an input. It is read, and never saved through a slice.

    `open`: how many batches that are not settled. `ended_ms`: when the last other one was settled, 0 for none.
    `elsewhere`: the labels of the batches that are not forgotten, without the batch in question.
    """

    sha256: str
    open: int = 0
    ended_ms: int = 0
    elsewhere: tuple[str, ...] = ()
