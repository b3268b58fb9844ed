"""The page at /docs in a real browser: it shows every operation, and nothing of it is refused by its own policy."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from comfyledger.wire.routes import ROUTES
from support.browser import CHROMIUM, FLAGS
from support.processes import House
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


async def test_the_page_shows_every_operation_under_its_strict_policy(house: House) -> None:
    await house.begin()
    page, told = await shown(f"{house.daemon.url}/docs", house.folder / "profile")
    assert [route.path for route in ROUTES if f'data-path="{route.path}"' not in page] == []
    assert [route.summary for route in ROUTES if route.summary not in page] == []
    assert [line for line in told.splitlines() if "CONSOLE" in line] == []


async def shown(url: str, profile: Path) -> tuple[str, str]:
    """What a page has become after its scripts ran, and what the browser's console says."""
    assert CHROMIUM is not None
    words = (
        *FLAGS,
        f"--user-data-dir={profile}",
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        "--dump-dom",
    )
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM, *words, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            page, told = await browser.communicate()
    finally:
        if browser.returncode is None:
            os.killpg(browser.pid, signal.SIGKILL)
            await browser.wait()
    return page.decode(), told.decode()
