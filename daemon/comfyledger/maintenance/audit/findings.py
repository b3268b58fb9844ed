"""The findings of an audit as plain values, what mends each kind, and the progress of long work.

A finding changes nothing and decides nothing. Its kind is a stable word for scripts. A report keeps the count of each
kind and only its first examples, so that a lost store of many thousand images is one line.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from comfyledger.ledger.log_reader import LogUnreadable

EXAMPLES_MAX: Final = 100
"""Examples kept of one kind; all are counted."""

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being checked, how much of it is done, and how much there is (0: unknown)."""


def silent(_what: str, _done: int, _of: int) -> None:
    """A progress that reports nothing."""


_RESTORE: Final = "comfyledger restore FILE --replace"
_AGAIN: Final = "comfyledger audit --stores"
_REBUILD: Final = "stop the daemon, then comfyledger replay --rebuild"

MENDS: Final[dict[str, str]] = {
    "schema_changed": "the command that the finding names",
    "file_damaged": _RESTORE,
    "end_lost": f"put the ledger's -wal back; or {_RESTORE}; or comfyledger restore --accept-loss",
    "chain_missing": _RESTORE,
    "chain_doubled": _RESTORE,
    "chain_changed": _RESTORE,
    "chain_unreadable": _RESTORE,
    "chain_truncated": _RESTORE,
    "anchor_differs": _RESTORE,
    "anchor_other_ledger": "give the anchor of this ledger, or another file",
    "anchor_other_epoch": "after a restore: keep the old anchor and write another file",
    "fold_impossible": _RESTORE,
    "row_missing": _REBUILD,
    "row_foreign": _REBUILD,
    "row_changed": _REBUILD,
    "blob_changed": _RESTORE,
    "blob_missing": _RESTORE,
    "blob_foreign": "nothing needs it; comfyledger backup keeps it",
    "spool_missing": "comfyledger recover --dry-run",
    "spool_changed": "comfyledger recover --dry-run",
    "spool_foreign": "check it and remove it by hand",
    "input_missing": "comfyledger input add FILE",
    "input_changed": "comfyledger input add FILE",
    "input_foreign": "restart the daemon; if it is still there, check it and remove it by hand",
    "thumbnail_foreign": "restart the daemon, which removes it",
    "store_unusable": "comfyledger doctor",
    "store_elsewhere": "configure the store as it was",
    "store_missing": "comfyledger recover --missing --store NAME --dry-run",
    "store_different": "move the other file away, then comfyledger recover --missing --store NAME",
    "store_misplaced": "move it back in the store, then " + _AGAIN,
    "store_foreign": "move it out of the folder in the store",
}
"""Every kind of finding, with the command or action that mends it."""


class Finding(msgspec.Struct, frozen=True):
    """One fault. `where` is a position, a table and key, a file or a name in a store."""

    kind: str
    where: str
    sentence: str

    @property
    def mend(self) -> str:
        return MENDS[self.kind]


class Kind(msgspec.Struct, frozen=True):
    """One line of a report: how often something was found, the first examples, and what mends it."""

    kind: str
    count: int
    mend: str
    examples: tuple[Finding, ...]


class Tally:
    """Collects findings as counts and examples: its memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[Finding]] = {}

    def add(self, kind: str, where: str, sentence: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES_MAX:
            examples.append(Finding(kind, where, sentence))

    def take(self, kinds: Iterable[Kind]) -> None:
        """Add what another tally has collected."""
        for kind in kinds:
            self._counts[kind.kind] = self._counts.get(kind.kind, 0) + kind.count
            examples = self._examples.setdefault(kind.kind, [])
            examples += kind.examples[: EXAMPLES_MAX - len(examples)]

    def __bool__(self) -> bool:
        return bool(self._counts)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """In the order of MENDS, the deepest faults first."""
        return tuple(
            Kind(kind, self._counts[kind], mend, tuple(self._examples[kind]))
            for kind, mend in MENDS.items()
            if kind in self._counts
        )


@contextmanager
def part(what: str, tally: Tally) -> Iterator[None]:
    """A part of the audit. If it cannot be read, that is a finding and only this part ends."""
    try:
        yield
    except (sqlite3.Error, LogUnreadable, msgspec.MsgspecError) as error:
        tally.add("file_damaged", what, f"This cannot be read: {error}.")
