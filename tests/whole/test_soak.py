"""The short soak: every fault once, in the order of a seed. `make soak` runs long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from whole.soak import soak
from whole.soak_faults import FAULTS


@pytest.mark.parametrize("seed", [20])
async def test_every_fault_once_and_nothing_is_lost_double_or_foreign(tmp_path: Path, seed: int) -> None:
    counts = await soak(tmp_path, images=40, seed=seed, faults=len(FAULTS), every_s=0.02, pace=0.05)
    assert {fault.__name__: counts[fault.__name__] for fault in FAULTS} == {fault.__name__: 1 for fault in FAULTS}
    assert counts["images stored"] + counts["images cancelled"] == 40
