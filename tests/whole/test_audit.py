"""An audit beside a daemon that has its hands full finds nothing, and disturbs nothing."""

from __future__ import annotations

import asyncio
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
    async with house.app() as app:
        asked = [await app.submit(f"r{number}", images=coloured(100)) for number in range(2)]
        await app.counted("stored", 5, asked[0]["batch_id"])
        code, said = await run("audit", "--stores", "--deep", "--json", "--config", str(house.folder / "config.toml"))
        after = await app.log()
        assert "open" in [(await app.batch(batch["batch_id"]))["status"] for batch in asked]
    assert (code, said["findings"]) == (0, [])
    assert 0 < said["position"] < len(after)
