"""examples/fastapi_app.py, run by uvicorn in front of a daemon."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.documents import ROOT
from support.example_apps import DEADLINE_S, WEBHOOK_SECRET, check_submit, check_webhook

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


async def test_the_backend_with_fastapi_submits_and_takes_genuine_deliveries_once(door: Any, tmp_path: Path) -> None:
    words = ["-m", "uvicorn", "fastapi_app:app", "--app-dir", str(ROOT / "examples"), "--port", "0", "--no-access-log"]
    environment = {"COMFYLEDGER_STATE_DIR": str(door.folder / "state"), "WEBHOOK_SECRET": WEBHOOK_SECRET}
    pipe = asyncio.subprocess.PIPE
    app = await asyncio.create_subprocess_exec(
        sys.executable, *words, env={**os.environ, **environment}, stdout=pipe, stderr=pipe
    )
    assert app.stdout is not None
    assert app.stderr is not None
    try:
        async with aiohttp.ClientSession() as session:
            url = await address(app.stderr)
            await check_submit(session, url)
            await check_webhook(session, url, app.stdout)
            async with session.post(f"{url}/webhooks/comfyledger", data=bytes(2_000_000)) as answer:
                assert answer.status == 413
        app.terminate()
        async with asyncio.timeout(DEADLINE_S):
            _, said = await app.communicate()
        assert b"Traceback" not in said
    finally:
        if app.returncode is None:
            app.kill()
        await app.wait()


async def address(said: asyncio.StreamReader) -> str:
    """Where uvicorn says that it listens."""
    async with asyncio.timeout(DEADLINE_S):
        async for line in said:
            if found := re.search(r"running on (http://[\d.:]+)", line.decode()):
                return found[1]
    raise AssertionError("it does not listen")
