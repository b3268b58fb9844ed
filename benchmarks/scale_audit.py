"""One audit in a process of its own, for the benchmark of scale: `whole` as the command does it, or its `parts` one by
one. Prints one JSON object: seconds of each, and for the whole the bytes that it and its own process held at most."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from comfyledger.inspect.audit import audit
from comfyledger.inspect.chain import check_chain
from comfyledger.inspect.compare import compare_tables
from comfyledger.inspect.findings import Tally, silent
from comfyledger.inspect.fold import Scratch
from comfyledger.inspect.opening import looking
from comfyledger.ledger.eventlog import read_head

ROWS = "SELECT position, stream, kind, schema, at, data, hash FROM events"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def parts(path: Path, tally: Tally) -> dict[str, float]:
    """The floor, a SELECT of the same rows that keeps none; then the chain, the fold, and the tables beside it."""
    with looking(path) as live, tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as folder:
        head = read_head(live)
        took = {"select": seconds(lambda: [None for _ in live.execute(ROWS)])}
        took["chain"] = seconds(lambda: check_chain(live, head, tally, silent))
        scratch = Scratch(Path(folder) / "fold.db")
        took["fold"] = seconds(lambda: scratch.fold(live, head.position, tally, silent))
        took["tables"] = seconds(lambda: compare_tables(live, scratch.connection, tally, silent))
        scratch.close()
    return took


def whole(path: Path, tally: Tally) -> dict[str, float]:
    """`getrusage` counts in KiB here; of the other process it may name what this one held when it began."""
    took = seconds(lambda: audit(path, path.parent / "no-spool", None, time.time(), tally, silent))
    kib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"whole": took, "peak_bytes": kib * 1024}


def main() -> None:
    what, path = sys.argv[1], Path(sys.argv[2])
    tally = Tally()
    took = whole(path, tally) if what == "whole" else parts(path, tally)
    wrong = [kind.kind for kind in tally.kinds if kind.kind != "spool_missing"]
    if wrong:
        sys.exit(f"The audit found what must not be: {wrong}")
    print(json.dumps(took))


if __name__ == "__main__":
    main()
