"""One audit in a process of its own, for the benchmark of scale: `whole` as the command does it, or its `parts` one by
one.

Prints one JSON object with the seconds of each. For the whole audit it also has the most bytes that this process and
its child had in memory.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from comfyledger.ledger.sqlite.log_table import LogTable, one_moment, read_head
from comfyledger.maintenance.audit.chain import links_hold
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.fold import Scratch
from comfyledger.maintenance.audit.folded import Account
from comfyledger.maintenance.audit.parallel import Folders
from comfyledger.maintenance.audit.run import audit
from comfyledger.maintenance.audit.streams import counted, range_agrees, ranges, series_agree, templates_agree
from comfyledger.maintenance.open_read_only import open_read_only

ROWS = "SELECT position, stream, kind, schema, at, data, hash FROM events"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def parts(path: Path, tally: Tally) -> dict[str, float]:
    """The parts of an audit, one after the other. First the floor, a SELECT of the same rows that keeps none. Then what
    the audit of a long log gives to processes: the chain, and the tables stream by stream. Last the fold of the whole
    log, which runs only if something differs and names it.
    """
    with open_read_only(path) as live, tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as folder:
        head = read_head(live)
        took = {"select": seconds(lambda: [None for _ in live.execute(ROWS)])}
        took["chain"] = seconds(lambda: _told(tally, links_hold(LogTable(live), 0, head.position)))
        took["streams"] = seconds(lambda: _told(tally, _streams_agree(live, Path(folder))))
        scratch = Scratch(Path(folder) / "fold.db")
        took["fold"] = seconds(lambda: scratch.fold(LogTable(live), head.position, tally, silent))
        scratch.close()
    return took


def _streams_agree(live: sqlite3.Connection, folder: Path) -> bool:
    with one_moment(live):
        head, total = read_head(live), Account()
        counts, parts = counted(live, head), list(ranges(live))
    for part in parts:
        account = range_agrees(live, part, head.position)
        if account is None:
            return False
        total.add(account)
    return total == counts and series_agree(live, folder) and templates_agree(live)


def _told(tally: Tally, whole: bool) -> None:
    if not whole:
        tally.add("row_changed", "somewhere", "A part of the audit found a fault.")


def whole(path: Path, tally: Tally) -> dict[str, float]:
    """`getrusage` counts in KiB here. For a child it may report what this process had when the child began."""
    folders = Folders(*(str(path.parent / name) for name in ("no-spool", "no-inputs", "no-thumbnails")))
    took = seconds(lambda: audit(path, folders, None, time.time(), tally, silent))
    kib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"whole": took, "peak_bytes": kib * 1024}


def main() -> None:
    what, path = sys.argv[1], Path(sys.argv[2])
    tally = Tally()
    took = whole(path, tally) if what == "whole" else parts(path, tally)
    wrong = [kind.kind for kind in tally.kinds if kind.kind != "spool_missing"]
    if wrong:
        sys.exit(f"The audit found faults: {wrong}")
    print(json.dumps(took))


if __name__ == "__main__":
    main()
