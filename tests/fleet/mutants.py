"""Shows that the checker of histories finds a shared log that is built wrong.

    python tests/fleet/mutants.py

Each mutant breaks one thing that the promises rest on, and is judged after the run that brings it to light. The same
run of what we ship has no violation. Exits 1 if a mutant is not found, or if what we ship is.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from fleet import runs
from fleet.history import History, Violation, violations


class Mutant(NamedTuple):
    """`run`: a run of `runs.RUNS`. `laws`: one of them is broken at least."""

    run: Callable[..., History]
    with_fault: Callable[[Path], History]
    laws: frozenset[str]


LOST: Final = frozenset({"lost", "replica", "request", "answer"})
MUTANTS: Final[dict[str, Mutant]] = {
    "an answer does not wait for the disk": Mutant(
        runs.database_killed, partial(runs.database_killed, broken="commit_off", times=4, answers=30), LOST
    ),
    "an answer does not wait for the standby": Mutant(
        runs.standby_promoted, partial(runs.standby_promoted, synchronous=False), LOST
    ),
    "the replica commits first": Mutant(
        runs.box_killed,
        partial(runs.box_killed, broken="replica_first", points=("group.committed",)),
        frozenset({"replica"}),
    ),
    "others' lines are looked up before the lock is had": Mutant(
        runs.at_once, partial(runs.at_once, broken="repeatable_read"), frozenset({"refused", "ended"})
    ),
    "nobody waits for another's group": Mutant(
        runs.at_once, partial(runs.at_once, broken="no_lock"), frozenset({"refused", "ended"})
    ),
    "nobody waits, and no key refuses a second number": Mutant(
        runs.at_once, partial(runs.at_once, broken="no_lock", keys=False), frozenset({"twice", "positions"})
    ),
}


def judged(run: Callable[[Path], History], is_harmless: bool) -> list[Violation]:
    with tempfile.TemporaryDirectory() as folder:
        return violations(run(Path(folder)), harmed=not is_harmless)


def is_found(name: str) -> bool:
    """Whether a mutant breaks one of its laws. Prints what it breaks."""
    mutant = MUTANTS[name]
    broken = judged(mutant.with_fault, mutant.run is runs.at_once)
    found = mutant.laws & {one.law for one in broken}
    said = f"breaks: {', '.join(sorted(found))}; {broken[0].text}" if found else "NOT FOUND"
    print(f"{name}: {said}", flush=True)
    return bool(found)


def is_whole(name: str) -> bool:
    """Whether a run of what we ship breaks no law."""
    broken = judged(runs.RUNS[name], name == runs.HARMLESS)
    print(f"{name}: {broken or 'whole'}", flush=True)
    return not broken


def main() -> int:
    whole, found = list(map(is_whole, runs.RUNS)), list(map(is_found, MUTANTS))
    return 0 if all([*whole, *found]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
