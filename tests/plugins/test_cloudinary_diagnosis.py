"""What the doctor is told of an account: given its answers and the configuration, then remarks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from comfyledger.sim.cloudinary.server import SECRET, CloudinaryOptions, serve
from comfyledger_cloudinary.account import Options, options_from
from comfyledger_cloudinary.admin import about_budget, about_clock, about_limit, about_mode
from comfyledger_cloudinary.store import CloudinaryStore

HOUR_S = 3_600.0


def options(**more: Any) -> Options:
    return options_from("cloud", {"cloud_name": "demo", "api_key": "k", "api_secret": SECRET, **more}, {})


@pytest.mark.parametrize(
    ("configured", "said", "verdict", "mend"),
    [
        ("auto", {"settings": {"folder_mode": "fixed"}}, "ok", ""),
        ("fixed", {"settings": {"folder_mode": "fixed"}}, "ok", ""),
        ("dynamic", {"settings": {"folder_mode": "fixed"}}, "failure", '[stores.cloud] folder_mode = "fixed"'),
        ("fixed", {"settings": {"folder_mode": "dynamic"}}, "failure", '[stores.cloud] folder_mode = "dynamic"'),
        ("auto", {}, "failure", '[stores.cloud] folder_mode = "dynamic"'),
        ("auto", {"settings": {"folder_mode": "new"}}, "failure", '[stores.cloud] folder_mode = "dynamic"'),
        ("fixed", {"settings": 3}, "ok", ""),
    ],
)
def test_the_folder_mode_must_be_known_and_the_accounts(configured: str, said: Any, verdict: str, mend: str) -> None:
    remark = about_mode("cloud", options(folder_mode=configured), said)
    assert (remark.verdict, remark.mend) == (verdict, mend)


@pytest.mark.parametrize(
    ("usage", "verdict"),
    [({"media_limits": {"image_max_size_bytes": 10}}, "ok"), ({"media_limits": 3}, "warning"), ({}, "warning")],
)
def test_the_size_limit_is_told(usage: Any, verdict: str) -> None:
    assert about_limit(usage).verdict == verdict


@pytest.mark.parametrize(("left", "is_told"), [(None, False), (50, False), (49, True), (0, True)])
def test_a_low_budget_is_told(left: int | None, is_told: bool) -> None:
    assert (about_budget(left) is not None) == is_told


@pytest.mark.parametrize(
    ("ahead_s", "verdict"),
    [(0.0, None), (59.0, None), (60.0, "warning"), (-60.0, "warning"), (HOUR_S, "failure"), (-HOUR_S, "failure")],
)
def test_a_clock_that_makes_no_signature_that_counts_is_a_failure(ahead_s: float, verdict: str | None) -> None:
    remark = about_clock(ahead_s)
    assert (remark and remark.verdict) == verdict


@pytest.mark.parametrize(
    ("off_s", "side"), [(-2 * HOUR_S, "behind Cloudinary's"), (2 * HOUR_S, "ahead of Cloudinary's")]
)
async def test_the_accounts_own_clock_is_compared(tmp_path: Path, off_s: float, side: str) -> None:
    async with await serve(CloudinaryOptions(root=tmp_path / "cloud", key="k")) as account:
        store = CloudinaryStore(
            "cloud", options(upload_prefix=account.url), tmp_path / "state", now=lambda: time.time() + off_s
        )
        *_, clock = await store.diagnose()
        await store.close()
    assert (clock.verdict, side in clock.sentence) == ("failure", True)
    assert not (tmp_path / "state").exists()
