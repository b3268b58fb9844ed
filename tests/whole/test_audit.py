"""An audit beside a daemon that has its hands full finds nothing, and disturbs nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import Any

from support.processes import House
from support.wire_app import coloured


async def run(*words: str) -> tuple[int | None, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfyledger", *words), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)


async def test_an_audit_beside_a_busy_daemon_finds_nothing(house: House) -> None:
    await house.begin(seconds_per_image=0.02)
    config = str(house.folder / "config.toml")
    async with house.app() as app:
        asked = await app.submit("r0", images=coloured(50))
        await app.counted("stored", 5, asked["batch_id"])
        auditing = asyncio.create_task(run("audit", "--stores", "--deep", "--json", "--config", config))
        for number in itertools.count(1):
            if auditing.done():
                break
            asked = await app.submit(f"r{number}", images=coloured(50))
            await app.counted("stored", 1, asked["batch_id"])
        assert (await app.batch(asked["batch_id"]))["status"] == "open", "the daemon had nothing to do at the end"
        after = await app.log()
    code, said = auditing.result()
    assert number > 1
    assert (code, said["findings"]) == (0, [])
    assert 0 < said["position"] < len(after)
