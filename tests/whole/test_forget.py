"""Forgetting all that a user ever asked for, with a kill in the middle: no file of the state folder knows the words."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from support.cloudinary_process import CloudHouse
from support.waiting import until
from support.wire_app import App, Frame, of_kind

WORKFLOW = "text-to-image"
WORDS = "a red coat that only Areg may know of"
NOTE = "for the birthday of somebody"
OTHERS = "a blue hat that Mina asked for"


def files_with(folder: Path, words: str) -> list[str]:
    """Every file below a folder that holds the words, byte for byte: database, write-ahead log and all."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if words.encode() in path.read_bytes()]


async def audited(house: CloudHouse) -> tuple[int | None, list[Any]]:
    words = ("audit", "--stores", "--deep", "--json", "--config", str(house.folder / "config.toml"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfyledger", *words), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)["findings"]


async def asked_for(app: App) -> tuple[list[Frame], Frame]:
    """Two batches of Areg, with five texts of his, and one of Mina."""
    areg = [
        await app.submit("r1", images=prompts(WORDS, f"{WORDS}, smiling"), workflow=WORKFLOW, metadata={"note": NOTE}),
        await app.submit("r2", images=prompts(WORDS), workflow=WORKFLOW, tags=[NOTE]),
    ]
    mina = await app.submit("r3", "Mina", images=prompts(OTHERS), workflow=WORKFLOW)
    batches = await app.settled(*(one["batch_id"] for one in (*areg, mina)))
    assert [batch["stored"] for batch in batches] == [2, 1, 1]
    return batches[:2], batches[2]


def prompts(*texts: str) -> list[Frame]:
    return [{"inputs": {"prompt": text}} for text in texts]


async def test_a_forgotten_text_is_in_no_file_whatever_kills_the_daemon(cloud: CloudHouse) -> None:
    cloud.options = f'[stores.folder]\nkind = "folder"\nroot = "{cloud.images}"'
    await cloud.begin()
    async with cloud.app() as app:
        areg, mina = await asked_for(app)
        assert files_with(cloud.state, WORDS)
        plan = await app.ask("forget", username="areg", stores=True, dry_run=True)
        assert (plan["batches"], plan["images"], plan["deletions"]) == (2, 3, 6)
        hanging = areg[0]["images"][1]["public_id"]
        match = {"public_id": hanging, "path": "/destroy"}
        cloud.account.control(faults=[{"fault": "hang", "match": match, "times": 0}])
        done = await app.ask("forget", username="areg", stores=True)
        assert (done["batches"], done["images"], done["deletions"]) == (2, 3, 6)
        assert done["texts"] == 5
        await until(lambda: cloud.account.control()["hanging"] == 1, "the account does not answer")
    cloud.daemon.signal(signal.SIGKILL)
    cloud.account.control(clear_faults=True)
    await cloud.daemon.begin()
    async with cloud.app() as app:
        for batch in areg:
            await all_forgotten(app, batch["batch_id"])
        await until(lambda: not files_with(cloud.state, WORDS), "the write-ahead log is empty")
        again = await app.submit("r4", quantity=1)
        log = await app.log()
        (fresh,) = await app.settled(again["batch_id"])
    assert files_with(cloud.state, NOTE) == []
    assert files_with(cloud.state, OTHERS) != [], "another user's words went"
    left = {mina["images"][0]["public_id"], fresh["images"][0]["public_id"]}
    assert set(cloud.stored()) == set(cloud.account.assets()) == left
    assert {path.parent.name for path in (cloud.state / "spool").rglob("*.png")} == {
        mina["batch_id"],
        fresh["batch_id"],
    }
    assert again["numbers"] == [4], "a number was given twice"
    assert len(of_kind(log, "image_deleted")) == 6
    assert await audited(cloud) == (0, [])


async def all_forgotten(app: App, batch_id: str) -> None:
    """Wait until the stores have answered for every image."""

    async def forgotten() -> Frame | None:
        batch = await app.batch(batch_id)
        return batch if {image["state"] for image in batch["images"]} == {"forgotten"} else None

    batch = await until(forgotten)
    assert "metadata" not in batch
    assert "tags" not in batch
