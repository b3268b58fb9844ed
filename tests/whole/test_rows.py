"""A file of rows, a daemon that is killed in the middle, and the command run again: each row is exactly one batch."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from support.command_line import said
from support.processes import Doomed, House
from support.waiting import until

ROWS = 40
EDITED = 17


def written(folder: Path, edited: bool) -> str:
    """Each character has four rows, and each prompt comes twice. One row is another if `edited`."""
    lines = ["username,character,quantity,width,height,color"]
    for place in range(ROWS):
        color = 1_000_000 if edited and place == EDITED else place // 2
        lines.append(f"Areg,c{place % 10},{1 + place % 2},64,64,{color}")
    path = folder / "rows.csv"
    path.write_text("\r\n".join(lines))
    return str(path)


async def test_each_row_of_a_file_is_one_batch_whatever_happens_to_the_daemon(side_by_side: Any) -> None:
    await side_by_side(submitted, ["batch.admitted:20", "batch.numbered:20"])


async def submitted(house: House, place: str) -> None:
    await house.comfyui.begin()
    house.configure()
    house.daemon = Doomed(house, place)
    await house.daemon.begin()
    path = written(house.folder, edited=False)
    command = asyncio.create_task(said(house, "submit", "--csv", path))
    await until(lambda: house.daemon.exit_code() is not None, "the daemon is killed")
    assert house.daemon.signal(signal.SIGKILL) == -signal.SIGKILL
    house.daemon = Doomed(house)
    await house.daemon.begin()
    first = await command
    assert f"{ROWS} rows of {ROWS}: " in first, first
    assert "; 0 refused." in first, first
    again = await said(house, "submit", "--csv", path)
    assert f"0 new, {ROWS} submitted before; 0 refused." in again, again
    edited = await said(house, "submit", "--csv", written(house.folder, edited=True))
    assert f"1 new, {ROWS - 1} submitted before; 0 refused." in edited, edited
    await check(house)


async def check(house: House) -> None:
    async with house.app() as app:
        batches = (await app.ask("list_batches", limit=500))["batches"]
        assert len(batches) == ROWS + 1
        assert sum(batch["quantity"] for batch in batches) == ROWS + ROWS // 2 + 1 + EDITED % 2
        house.check_stored(*await app.settled(*(batch["batch_id"] for batch in batches)))
