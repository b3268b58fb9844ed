"""Runs benchmarks, one after the other, and compares the figures with the aims: `make bench`, `make bench-all`.

    python benchmarks/run.py > figures.jsonl
    python benchmarks/run.py --all > figures.jsonl

The short set stays below ten minutes. `--all` adds what takes longer. Each benchmark is a program that prints one JSON
object a line. Those lines go to standard output. A table for people, on standard error, says whether each aim is
reached.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

HERE: Final = Path(__file__).parent
TIMEOUT_S: Final = 600.0
MISSED: Final = 3
"""The exit code of a program that checks its own aims and misses one."""
PROGRAMS: Final[tuple[tuple[str, ...], ...]] = (
    ("append.py", "--rounds", "3"),
    ("door.py", "--rounds", "3"),
    ("whole.py", "--rounds", "3"),
    ("backends.py", "--backends", "8", "--seconds", "0", "--images", "400", "--rounds", "3"),
    ("subscribers.py", "--rounds", "3"),
    ("memory.py",),
    ("open_images.py", "--rounds", "5"),
    ("folders.py", "--rounds", "9"),
    ("replay.py", "--rounds", "3"),
    ("upload.py", "--rounds", "3"),
    ("upload_objects.py", "--rounds", "3"),
    ("scale.py", "--events", "10000", "100000"),
)
"""The short set."""
LONGER: Final[tuple[tuple[str, ...], ...]] = (
    ("backends.py", "--backends", "100", "--seconds", "5"),
    ("scheduling.py",),
    ("append.py", "--rounds", "3", "--shared"),
    ("fleet.py", "--boxes", "8", "--rate", "15"),
    ("peers/comfy_api_proxy.py", "--rounds", "5"),
)


class Aim(NamedTuple):
    """What a figure should be. `of`: the ratio, or the value in its own unit."""

    name: str
    of: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, one: dict[str, Any]) -> bool:
        figure = one[self.of]
        return (self.at_least is None or figure >= self.at_least) and (self.at_most is None or figure <= self.at_most)

    @property
    def words(self) -> str:
        least, most = self.at_least, self.at_most
        if least is not None and most is not None:
            bound = f"{least:g} to {most:g}"
        else:
            bound = f"at least {least:g}" if least is not None else f"at most {most:g}"
        return bound if self.of == "ratio" else f"{bound} (value)"


AIMS: Final = (
    Aim("append.1", "ratio", at_least=0.35),
    Aim("append.16", "ratio", at_least=3),
    Aim("append.256", "ratio", at_least=6),
    Aim("append.16.peer", "ratio", at_least=5),
    Aim("append.256.peer", "ratio", at_least=12),
    Aim("append.256.sqlite", "ratio", at_least=0.65),
    Aim("append.16.shared", "ratio", at_least=0.4),
    Aim("append.256.shared", "ratio", at_least=0.5),
    Aim("fleet.taken.p99", "value", at_most=5),
    Aim("fleet.answer.p99", "value", at_most=100),
    Aim("door.1.median", "ratio", at_most=3),
    Aim("door.1.p99", "ratio", at_most=3),
    Aim("door.100.median", "ratio", at_most=1.5),
    Aim("door.100.p99", "ratio", at_most=3),
    Aim("door.1.http", "ratio", at_most=1.3),
    Aim("door.100.http", "ratio", at_most=1.3),
    Aim("whole.heard", "value", at_most=5),
    Aim("whole.images", "ratio", at_least=0.8),
    Aim("whole.cpu", "value", at_most=5),
    Aim("whole.switches", "value", at_most=50),
    Aim("whole.comfyui", "ratio", at_most=1.15),
    Aim("whole.calls", "value", at_most=2.2),
    Aim("whole.large.cpu", "ratio", at_most=1.5),
    Aim("whole.idle", "value", at_most=0),
    Aim("backends.instant.cpu", "ratio", at_most=1.2),
    Aim("backends.busy", "value", at_least=0.95),
    Aim("backends.cpu", "ratio", at_most=1.2),
    Aim("backends.memory", "value", at_most=40),
    Aim("upload.rate.8", "ratio", at_least=1.3),
    Aim("upload.cpu.8", "ratio", at_most=0.6),
    Aim("upload.rate.32", "ratio", at_least=1.3),
    Aim("upload.cpu.32", "ratio", at_most=0.6),
    Aim("objects.rate.8", "ratio", at_least=1.5),
    Aim("objects.cpu.8", "ratio", at_most=0.6),
    Aim("objects.rate.32", "ratio", at_least=1.5),
    Aim("objects.cpu.32", "ratio", at_most=0.6),
    Aim("objects.memory.files", "ratio", at_most=1.1),
    Aim("objects.memory.size", "ratio", at_most=1.1),
    Aim("replay.fold", "ratio", at_least=0.35),
    Aim("replay.fold.peer", "ratio", at_least=4),
    Aim("scheduling.rival.p95", "ratio", at_least=0.9, at_most=1.1),
    Aim("scheduling.rival.loads", "ratio", at_least=0.9, at_most=1.1),
    Aim("scheduling.single.p95", "ratio", at_most=0.4),
    Aim("scheduling.closed.loads", "ratio", at_most=0.7),
    Aim("scheduling.closed.end", "ratio", at_most=1.05),
    Aim("scheduling.choice", "value", at_most=40),
    Aim("scheduling.choice.growth", "ratio", at_most=1.3),
    Aim("scale.100000.append", "ratio", at_most=1.1),
    Aim("scale.100000.start", "value", at_most=100),
    Aim("scale.100000.audit", "value", at_least=200_000),
    Aim("memory.images", "ratio", at_most=1.1),
    Aim("subscribers.memory.1000", "value", at_most=30),
    Aim("subscribers.1", "ratio", at_least=0.5),
    Aim("subscribers.100", "ratio", at_least=0.5),
    Aim("subscribers.1000", "ratio", at_least=0.5),
    Aim("open_images.report", "ratio", at_most=1.2),
    Aim("folders.save", "ratio", at_most=1.1),
)


def ran(words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of one program. Its text for people goes to standard error."""
    done = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, str(HERE / words[0]), *words[1:]], stdout=subprocess.PIPE, check=False, timeout=TIMEOUT_S
    )
    if done.returncode != MISSED:
        done.check_returncode()
    yield from map(json.loads, done.stdout.splitlines())


def table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"{'':26}{'ratio':>9}{'value':>14}  {'unit':<28}{'aim':<22}holds"
    aims = {aim.name: aim for aim in AIMS}
    for name, one in found.items():
        aim = aims.get(name)
        said = f"{aim.words:<22}{'yes' if aim.holds(one) else 'NO'}" if aim is not None else ""
        yield f"{name:26}{one['ratio']:9.3f}{one['value']:14,.2f}  {one['unit']:<28}{said}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", help="of these programs, like append.py")
    parser.add_argument("--all", action="store_true", help="also what takes longer")
    given = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for words in (*PROGRAMS, *(LONGER if given.all else ())):
        if given.only and words[0] not in given.only:
            continue
        start = time.monotonic()
        for one in ran(words):
            print(json.dumps(one), flush=True)
            found[one["name"]] = one
        print(f"{' '.join(words)}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(table(found)), file=sys.stderr)


if __name__ == "__main__":
    main()
