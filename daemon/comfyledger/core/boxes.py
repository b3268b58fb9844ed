"""The rows about boxes: the machines of a fleet, each with one daemon, that share one log. Without a fleet none is."""

from __future__ import annotations

import msgspec


class BoxRow(msgspec.Struct, frozen=True, gc=False):
    """A box that has joined the fleet, by its name. The row of one that left stays, and is not `present`.

    `term`: how often it has joined. `since_ms`: when it joined or left last.
    """

    name: str
    term: int = 0
    present: bool = False
    since_ms: int = 0
    founder: bool = False
    """Whether what is from before the fleet, and names no box, is this box's: the fleet began with its ledger."""
    given_up: bool = False
    """Whether a person said, after it left, that it does not come back with what it keeps."""

    def is_in(self, term: int) -> bool:
        """Whether the box is present in this term. What it says in an earlier one does not count any more."""
        return self.present and self.term == term
