"""What all benchmarks share: alternating rounds, medians, and output lines that name what a figure was compared with.

A line is one JSON object on standard output: `name`, `ratio`, `value`, `unit`, and `floor` or `peer`, measured in the
same run. A ratio is ours divided by the other's. Absolute figures belong to this machine at this moment; ratios are
more stable.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

SYNCS: Final = 400
PAGE: Final = 4_096


def line(name: str, value: float, other: float, unit: str, *, floor: str = "", peer: str = "") -> dict[str, Any]:
    """Print one line. `other` is the value of `floor` or `peer`, in the same unit."""
    against = {"floor": floor} if floor else {"peer": peer}
    return {"name": name, "ratio": round(value / other, 3), "value": round(value, 3), "unit": unit, **against}


def say(one: dict[str, Any]) -> None:
    print(json.dumps(one), flush=True)


def in_turns(rounds: int, *works: Callable[[], float]) -> Iterator[float]:
    """The medians of several works, which take turns for `rounds` rounds. The order alternates."""
    found: list[list[float]] = [[] for _ in works]
    order: Sequence[int] = range(len(works))
    for number in range(rounds):
        for place in order if number % 2 == 0 else order[::-1]:
            found[place].append(works[place]())
    yield from map(median, found)


def syncs_per_second(folder: Path) -> float:
    """F: how often a second this disk makes 4 KiB durable, one after the other."""
    path = folder / "syncs"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, b"x" * PAGE, 0)
        os.fsync(fd)
        start = time.perf_counter()
        for number in range(SYNCS):
            os.pwrite(fd, bytes([number % 256]) * PAGE, 0)
            os.fdatasync(fd)
        return SYNCS / (time.perf_counter() - start)
    finally:
        os.close(fd)
        path.unlink()
