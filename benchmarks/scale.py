"""How cost grows with the length of the log: start, append, audit and room at 10,000, 100,000 and 1,000,000 events
(`--full`: ten times as many).

    python benchmarks/scale.py --full

One ledger grows through these lengths and is measured at each. `scale_ledger.py` says what is in it. Prints one JSON
object a line on standard output (`name`, `ratio`, `value`, `unit`, `floor` or `peer`), and a table for people on
standard error.

A `floor` is measured in the same run: for the audit a SELECT of the same rows that keeps none, for room the size of the
events' own columns. The `peer` of a length is the shortest length. Files are in the page cache, so the processor is
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final

from comfyledger.ledger.sqlite.writer import Ledger
from scale_ledger import Life

HERE: Final = Path(__file__).parent
SIZES: Final = (10_000, 100_000, 1_000_000)
FULL: Final = 10_000_000
GROUP: Final = 200
"""Messages a group while a ledger is made."""
APPEND_GROUP: Final = 10
STARTS: Final = 5
AUDIT_AIM: Final = 400_000
"""Events a second, of chain and projections."""
PARTS: Final = ("select", "chain", "streams", "fold", "whole")
TIMEOUT_S: Final = 7_200.0
MIB: Final = 1_048_576

Figures = dict[str, float]


def grow(path: Path, life: Life, events: int) -> None:
    """Make the ledger this long, and print the progress."""
    start, told = time.perf_counter(), 0.0
    with closing(Ledger.open(path)) as ledger:
        first = ledger.head.position
        while ledger.head.position < events:
            life.more(ledger, GROUP)
            if time.perf_counter() - told > 5.0 or ledger.head.position >= events:
                told = time.perf_counter()
                rate = (ledger.head.position - first) / (told - start)
                print(f"{ledger.head.position:,} of {events:,} events made, {rate:,.0f}/s", file=sys.stderr)


def start_ms(path: Path) -> float:
    """What the engine's start does with the ledger: open it, and read all open work."""
    took = []
    for _ in range(STARTS):
        start = time.perf_counter()
        ledger = Ledger.open(path)
        ledger.open_rows()
        took.append(time.perf_counter() - start)
        ledger.close()
    return 1000 * median(took)


def append_us(path: Path, shortest: Path, seed: int, groups: int) -> tuple[float, float]:
    """Microseconds for an event, here and in the shortest ledger. The two take turns, group by group."""
    took: tuple[list[float], list[float]] = ([], [])
    lives = Life(seed), Life(seed)
    with closing(Ledger.open(path)) as here, closing(Ledger.open(shortest)) as there:
        for _ in range(groups):
            for ledger, life, times in ((here, lives[0], took[0]), (there, lives[1], took[1])):
                start = time.perf_counter()
                events = life.more(ledger, APPEND_GROUP)
                times.append(1e6 * (time.perf_counter() - start) / events)
    return median(took[0]), median(took[1])


def audited(what: str, path: Path) -> Figures:
    words = [sys.executable, str(HERE / "scale_audit.py"), what, str(path)]
    ran = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S)  # noqa: S603
    found: Figures = json.loads(ran.stdout)
    return found


def room(path: Path) -> Figures:
    """Bytes for an event: of the file, of the table of events, of the texts, of an event's columns, and of `data`,
    which is one of them.
    """
    with closing(sqlite3.connect(path)) as connection:
        columns = "length(stream) + length(kind) + length(data) + length(hash) + 16"
        sums = f"SELECT count(*), sum({columns}), sum(length(data)) FROM events"  # noqa: S608
        count, own, payload = connection.execute(sums).fetchone()
        pages = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'events'").fetchone()[0]
        blobs = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE '%blobs%'").fetchone()[0]
    whole = path.stat().st_size
    return {
        "events": count,
        "file": whole / count,
        "table": pages / count,
        "columns": own / count,
        "payload": payload / count,
        "texts": blobs / count,
    }


def measure(path: Path, shortest: Path, seed: int, groups: int, audits: bool) -> Figures:
    """All figures of one length. Appending comes last, because it makes the ledger longer."""
    found = {"start_ms": start_ms(path), **room(path)}
    if audits:
        found |= {**audited("parts", path), **audited("whole", path)}
    with tempfile.TemporaryDirectory(dir=shortest.parent) as place:  # with the mark that a ledger has beside it
        copy = shutil.copyfile(shortest, Path(place) / "shortest.db")
        found["append_us"], found["append_shortest_us"] = append_us(path, copy, seed, groups)
    return found


def lines(name: str, one: Figures, least: Figures) -> Iterator[dict[str, Any]]:
    """The lines of one length. `least` has the figures of the shortest one."""
    events = one["events"]
    peer = {"peer": f"{least['events']:.0f} events"}
    yield _line(f"{name}.start", "ms", one["start_ms"], least["start_ms"], peer)
    yield _line(f"{name}.append", "us/event", one["append_us"], one["append_shortest_us"], peer)
    if "whole" in one:
        yield _line(f"{name}.audit_memory", "MiB", one["peak_bytes"] / MIB, least["peak_bytes"] / MIB, peer)
        floor = {"floor": f"SELECT of the same rows: {events / one['select']:.0f} events/s"}
        for part in ("chain", "streams", "fold"):
            yield _line(f"{name}.audit_{part}", "events/s", events / one[part], events / one["select"], floor)
        yield _line(f"{name}.audit", "events/s", events / one["whole"], events / one["select"], floor)
        needed = {"floor": f"this machine's {len(os.sched_getaffinity(0))}, for {AUDIT_AIM:,} events/s"}
        processors = AUDIT_AIM * (one["chain"] + one["streams"]) / events
        yield _line(f"{name}.audit_aim", "processors", processors, len(os.sched_getaffinity(0)), needed)
    floor = {"floor": f"the columns of an event: {one['columns']:.0f} bytes"}
    for part, of in (("room", "file"), ("room_events", "table"), ("room_payload", "payload"), ("room_texts", "texts")):
        yield _line(f"{name}.{part}", "bytes/event", one[of], one["columns"], floor)


def _line(name: str, unit: str, value: float, other: float, against: dict[str, str]) -> dict[str, Any]:
    return {
        "name": f"scale.{name}",
        "ratio": round(value / other, 3),
        "value": round(value, 2),
        "unit": unit,
        **against,
    }


def table(found: dict[str, Figures]) -> Iterator[str]:
    """The table for people, with a line for each length."""
    heads = ("start ms", "append us", *(f"{part}/s" for part in PARTS), "peak MiB", "B/event", "events' B")
    yield f"{'events':>12}" + "".join(f"{head:>11}" for head in heads)
    for one in found.values():
        rates = (one["events"] / one[part] if part in one else 0.0 for part in PARTS)
        shown = (one["start_ms"], one["append_us"], *rates, one.get("peak_bytes", 0) / MIB, one["file"], one["table"])
        yield f"{one['events']:12,.0f}" + "".join(f"{value:11,.1f}" for value in shown)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES), help="the lengths, in rising order")
    parser.add_argument("--full", action="store_true", help=f"also {FULL:,} events: an hour, and 12 GB of disk")
    parser.add_argument("--no-audit", action="store_true", help="only start, append and room")
    parser.add_argument("--groups", type=int, default=60, help="groups that are appended at each length")
    parser.add_argument("--folder", type=Path, help="where the ledgers are made; default: $TMPDIR")
    return parser.parse_args()


def main() -> None:
    given = _options()
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-", dir=given.folder) as name:
        growing, shortest, life = Path(name) / "growing.db", Path(name) / "first.db", Life()
        for seed, events in enumerate([*given.events, *([FULL] if given.full else [])], 1):
            grow(growing, life, events)
            if not found:
                shutil.copyfile(growing, shortest)
            found[str(events)] = one = measure(growing, shortest, seed, given.groups, not given.no_audit)
            for line in lines(str(events), one, next(iter(found.values()))):
                print(json.dumps(line), flush=True)
    print("\n".join(table(found)), file=sys.stderr)


if __name__ == "__main__":
    main()
