"""How fast a log is read: decoded and folded into the state, compared with a bare SELECT of the same rows and with the
`eventsourcing` package.

    python benchmarks/replay.py --events 100000 --rounds 3
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import peer_eventsourcing
from comfyledger.ledger.eventlog import decode
from comfyledger.ledger.sqlite.log_table import LogTable, read_head, read_page
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.fold import Scratch
from comfyledger.maintenance.audit.folded import Folded
from comfyledger.maintenance.open_read_only import open_read_only
from measured import in_turns, line, say
from scale_ledger import Life

GROUP: Final = 200
PAGE: Final = 4_096
PEER_EVENTS: Final = 5_000
STREAMS: Final = "SELECT stream, position, at, kind, schema, data FROM events ORDER BY stream, position"
ROWS: Final = "SELECT position, stream, kind, schema, at, data, hash FROM events"


def made(path: Path, events: int) -> None:
    life = Life()
    with closing(Ledger.open(path)) as ledger:
        while ledger.head.position < events:
            life.more(ledger, GROUP)


def rate(events: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return events / (time.perf_counter() - start)


def select(path: Path) -> int:
    with open_read_only(path) as live:
        return sum(1 for _ in live.execute(ROWS))


def decoded(path: Path) -> None:
    with open_read_only(path) as live:
        last, after = read_head(live).position, 0
        while after < last:
            page = read_page(live, after=after, limit=PAGE)
            for one in page:
                decode(one.kind, one.schema, one.data)
            after = page[-1].position


def folded(path: Path) -> None:
    """Fold with `evolve`, in memory and stream by stream, as an audit does, without comparing."""
    with open_read_only(path) as live:
        head = read_head(live).position
        for stream, events in groupby(live.execute(STREAMS), itemgetter(0)):
            Folded(stream, head).take(events)


def into_tables(path: Path) -> None:
    with open_read_only(path) as live, tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as folder:
        scratch = Scratch(Path(folder) / "fold.db")
        scratch.fold(LogTable(live), read_head(live).position, Tally(), silent)
        scratch.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        path = Path(name) / "log.db"
        made(path, given.events)
        events = select(path)
        app = peer_eventsourcing.filled(Path(name), PEER_EVENTS)
        floor, decoding, folding, tables, peer = in_turns(
            given.rounds,
            lambda: rate(events, lambda: select(path)),
            lambda: rate(events, lambda: decoded(path)),
            lambda: rate(events, lambda: folded(path)),
            lambda: rate(events, lambda: into_tables(path)),
            lambda: peer_eventsourcing.replayed_per_second(app, PEER_EVENTS),
        )
        app.close()
    against = f"a SELECT of the same rows: {floor:.0f}/s"
    say(line("replay.decode", decoding, floor, "events/s", floor=against))
    say(line("replay.fold", folding, floor, "events/s", floor=against))
    say(line("replay.tables", tables, floor, "events/s", floor=against))
    say(line("replay.fold.peer", folding, peer, "events/s", peer=f"{peer_eventsourcing.NAME}: {peer:.0f}/s"))


if __name__ == "__main__":
    main()
