"""examples/express_app.mjs in a fresh folder, with the package installed, and the daemon's own deliveries to it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from support.documents import ROOT
from support.example_apps import ORDER, WEBHOOK_SECRET, check_submit, check_webhook, said
from support.processes import House
from support.waiting import until
from typescript.tools import CLIENT

EXAMPLE = ROOT / "examples" / "express_app.mjs"


@asynccontextmanager
async def running(folder: Path, house: House) -> AsyncIterator[tuple[asyncio.StreamReader, str]]:
    """What the app prints, and its address."""
    (folder / "node_modules" / "express").symlink_to(CLIENT / "node_modules" / "express")
    (folder / "express_app.mjs").write_text(EXAMPLE.read_text("utf-8"))
    environment = {
        "PORT": "0",
        "COMFYLEDGER_URL": house.daemon.url,
        "COMFYLEDGER_TOKEN": house.daemon.token,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        *("node", "express_app.mjs"),
        env={**os.environ, **environment},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout, f"http://127.0.0.1:{await said(process.stdout, 'listening')}"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def deliver_to(house: House, url: str) -> None:
    """Have the daemon send its webhooks to the app."""
    house.daemon.environment["HOOK_SECRET"] = WEBHOOK_SECRET
    house.configure(f"""
            [webhooks.shop]
            url = "{url}/webhooks/comfyledger"
            secret = "env:HOOK_SECRET"
            http = true
    """)
    house.daemon.signal(signal.SIGTERM)
    await house.daemon.begin()


async def check_delivery(session: aiohttp.ClientSession, url: str, out: asyncio.StreamReader) -> None:
    async with session.post(f"{url}/images", json=ORDER | {"order": "order-2003"}) as answer:
        names = (await answer.json())["names"]
    stored = [await said(out, "stored"), await said(out, "stored")]
    assert sorted(line.split()[0].rpartition("/")[2] for line in stored) == names
    assert await said(out, "settled")


async def nothing_is_open(session: aiohttp.ClientSession, house: House) -> bool:
    """Whether all orders so far are settled, so that the app hears of no earlier one."""
    headers = {"Authorization": f"Bearer {house.daemon.token}"}
    async with session.get(f"{house.daemon.url}/v1/batches?open_only=true", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["batches"] == []


async def check(folder: Path, house: House) -> None:
    """`folder` has the package installed. Raises AssertionError, TimeoutError."""
    async with running(folder, house) as (out, url), aiohttp.ClientSession() as session:
        await check_submit(session, url)
        await check_webhook(session, url, out)
        await until(lambda: nothing_is_open(session, house))
        await deliver_to(house, url)
        await check_delivery(session, url, out)
