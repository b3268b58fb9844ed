"""An audit: the chain and its anchor, the file, the projections, the texts, the files and, if asked for, the stores.

It changes nothing and needs no daemon. Each part is checked whatever the others found, so that one damaged page does
not hide a lost image.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.sqlite import mark, schema, schema_objects
from comfyledger.ledger.sqlite.log_table import LogTable, one_moment, read_head
from comfyledger.maintenance.audit import chain, compare, parallel
from comfyledger.maintenance.audit.findings import Progress, Tally, part
from comfyledger.maintenance.audit.fold import Scratch
from comfyledger.maintenance.audit.parallel import Folders, Known, Scope
from comfyledger.maintenance.audit.stores import Comparison
from comfyledger.maintenance.open_read_only import Identity, identity_of, open_read_only
from comfyledger.plugins import OpenedStore, prepared

PREPARE_S: Final = 30.0
"""How long a store may take to prepare."""


class Audited(msgspec.Struct, frozen=True):
    """What was checked: which ledger, and its log up to which position.

    `anchor`: empty without one, else `written`, `holds` (and was updated), or `differs` (and was left unchanged).
    `foreign`: harmless objects that other programs have added to the file.
    """

    identity: Identity
    head: Head
    anchor: str = ""
    foreign: tuple[str, ...] = ()

    @property
    def foreign_in_words(self) -> str:
        """The first of `foreign`, and how many more there are."""
        return schema_objects.listed(self.foreign)


def audit(path: Path, folders: Folders, anchor: Path | None, now_s: float, tally: Tally, progress: Progress) -> Audited:
    """Audit everything but the stores. `now_s` is the wall clock, because files carry its times.

    Raises LedgerUnusable if the file is no ledger, Refused if the anchor is none, OSError if something cannot be read.
    """
    known = chain.read_anchor(anchor) if anchor is not None else None
    log = Tally()
    _check_end(path, log)
    with open_read_only(path) as live:
        audited = Audited(identity_of(live), Head(), foreign=schema.named_foreign(live))
        with part("the log", log):
            audited = msgspec.structs.replace(audited, head=chain.fixed_head(LogTable(live), log))
        _check_all(live, Scope(str(path), audited.head, folders, now_s), log, tally, progress)
        if anchor is not None:
            with part("the log", log):
                audited = _anchored(live, audited, known, anchor, log)
    tally.take(log.kinds)
    return audited


def _check_end(path: Path, log: Tally) -> None:
    """Compare the end of the log with the mark. The mark is read first, because a daemon may append meanwhile."""
    with part("the mark", log):
        lost = mark.lost_end(path)
        if lost is not None and path.is_file():
            log.add("end_lost", f"position {lost.mark.head.position}", lost.sentence)


def _check_all(live: sqlite3.Connection, scope: Scope, log: Tally, tally: Tally, progress: Progress) -> None:
    """Check a long log on all processors first. What is not known to be whole then is checked from end to end."""
    known = Known()
    if scope.head.position >= parallel.EVENTS_MIN:
        with suppress(sqlite3.Error):
            known = parallel.check_in_parallel(live, scope, progress)
    if not known.chain:
        with part("the log", log):
            chain.check_chain(LogTable(live), scope.head, log, progress)
    if not known.tables:
        check_projections(live, tally, progress)
    if known.rest is None:
        parallel.check_rest(live, scope, tally, progress)
    else:
        tally.take(known.rest)


def _anchored(
    live: sqlite3.Connection, audited: Audited, known: chain.Anchor | None, path: Path, tally: Tally
) -> Audited:
    """Compare with the anchor, and update it if the log is whole."""
    if known is not None:
        chain.check_anchor(LogTable(live), audited.identity, known, tally)
    if not tally:
        chain.write_anchor(path, audited.identity, audited.head)
    return msgspec.structs.replace(audited, anchor="differs" if tally else "holds" if known else "written")


def check_projections(live: sqlite3.Connection, tally: Tally, progress: Progress) -> int:
    """Check every table against the fold of the log, and every text that an event names. Returns their position.

    Most of the log is folded in short transactions. The last events and the comparison share one transaction, during
    which a daemon's write-ahead log cannot be checkpointed. The scratch file in $TMPDIR is as large as the tables.
    """
    with tempfile.TemporaryDirectory(prefix="comfyledger-audit-") as folder:
        scratch = Scratch(Path(folder) / "fold.db")
        try:
            with part("the projections", tally):
                if scratch.fold(LogTable(live), read_head(live).position, tally, progress):
                    _compare_now(live, scratch, tally, progress)
        finally:
            scratch.close()
    return scratch.position


def _compare_now(live: sqlite3.Connection, scratch: Scratch, tally: Tally, progress: Progress) -> None:
    with one_moment(live):
        if scratch.fold(LogTable(live), read_head(live).position, tally, progress):
            compare.compare_tables(live, scratch.connection, tally, progress)
            compare.compare_texts(live, scratch.connection, tally)


async def audit_stores(
    path: Path, stores: Mapping[str, OpenedStore], now_ms: int, deep: bool, tally: Tally, progress: Progress
) -> None:
    """Compare log and stores, both ways. `now_ms` is the wall clock. Raises LedgerUnusable."""
    with open_read_only(path) as live, tempfile.TemporaryDirectory(prefix="comfyledger-audit-") as folder:
        for number, found in enumerate(stores.values()):
            opened = await prepared(found, PREPARE_S)
            store = opened.guarded
            if store is None:
                tally.add("store_unusable", opened.name, opened.problem)
                continue
            lists = Path(folder) / f"{number}.db"
            comparison = Comparison(
                live, opened.name, store, lists, now_ms=now_ms, deep=deep, tally=tally, progress=progress
            )
            with part(f"the images of {opened.name}", tally):
                await comparison.run()
