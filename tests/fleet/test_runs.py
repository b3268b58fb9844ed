"""What boxes of a fleet do to a shared log while something dies, judged by the checker of histories; and that the
checker finds a shared log that is built wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger import crash_points
from fleet.history import violations
from fleet.mutants import MUTANTS, is_found
from fleet.runs import HARMLESS, POINTS, RUNS
from support.postgres import POSTGRES, WHY_NOT

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)


@pytest.mark.parametrize("name", RUNS)
def test_whatever_dies_nothing_that_was_told_is_lost_and_nothing_is_given_twice(tmp_path: Path, name: str) -> None:
    history = RUNS[name](tmp_path)
    assert violations(history, harmed=name != HARMLESS) == []
    assert (len(history.told) > 10, bool(history.refused)) == (True, name not in {HARMLESS, "box_killed"})


def test_a_box_dies_at_every_point_of_a_turn_of_the_shared_log() -> None:
    assert {name for name in crash_points.POINTS if name.startswith("log.")} < set(POINTS)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_shared_log_that_is_built_wrong_is_found(name: str) -> None:
    assert is_found(name)
