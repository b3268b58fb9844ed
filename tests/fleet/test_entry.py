"""What a group writes into the shared log. PURE: the statements alone, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfyledger.core.values import Blob, blob_of
from comfyledger.ledger.eventlog import GENESIS, Head, Line
from comfyledger.ledger.shared.ledger import _Collected
from comfyledger.ledger.shared.log import _statements


def line(position: int) -> Line:
    return Line(position, "batch/b1", "batch_requested", 1, 0, "{}", bytes(32))


def test_a_text_has_the_position_of_the_first_event_that_was_written_with_it() -> None:
    """A box that catches up gets a graph that was brought anew with a page that begins after the old one's erasure."""
    old, new = blob_of(b"graph", b"1" * 16, "graph"), blob_of(b"graph", b"2" * 16, "graph")
    collected, placed = _Collected(), list[tuple[int, list[str]]]()
    collected.add([line(1), line(2)], [], [], [old])
    collected.add([line(3)], [], [], [])
    collected.add([line(4), line(5)], [], [], [new])

    def seal(position: int, blobs: Sequence[Blob]) -> tuple[str, tuple[Any, ...]]:
        placed.append((position, [blob.digest for blob in blobs]))
        return "", ()

    assert list(_statements(collected.entry(), Head(0, GENESIS), seal))
    assert placed == [(1, [old.digest]), (4, [new.digest])]
