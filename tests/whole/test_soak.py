"""The short soak: every fault once, in the order of a seed. `make soak` runs long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from whole.soak import soak
from whole.soak_faults import FAULTS
from whole.soak_moves import MOVES


@pytest.mark.parametrize("seed", [20])
async def test_every_fault_once_and_nothing_is_lost_double_or_foreign(tmp_path: Path, seed: int) -> None:
    counts = await soak(tmp_path, images=40, seed=seed, faults=len(FAULTS), every_s=0.02, pace=0.05)
    assert {fault.__name__: counts[fault.__name__] for fault in FAULTS} == {fault.__name__: 1 for fault in FAULTS}
    assert counts["images stored"] + counts["images cancelled"] == 40


async def test_every_fault_once_at_three_comfyuis_between_which_prompts_move(tmp_path: Path) -> None:
    every = (*FAULTS, *MOVES)
    counts = await soak(tmp_path, images=60, seed=20, faults=len(every), every_s=0.02, pace=0.05, backends=3)
    assert {fault.__name__: counts[fault.__name__] for fault in every} == {fault.__name__: 1 for fault in every}
    assert counts["images stored"] + counts["images cancelled"] == 60
    assert counts["prompts moved: away"], "nothing moved"
