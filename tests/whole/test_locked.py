"""Another program takes the ledger's write lock in the middle of work and keeps it: nothing ends, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.ledger_builders import check_tables
from support.processes import QUICK, House
from support.waiting import DEADLINE_S, until
from support.wire_app import Refusal


@contextmanager
def write_lock(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        yield stranger


def ready(house: House) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{house.daemon.url}/readyz", timeout=DEADLINE_S) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))


def reasons(house: House) -> set[str]:
    return {reason["code"] for reason in ready(house)["reasons"]}


SOON = {"comfyledger.engine.patience.LOCKED_COMMANDS_S": 1.0, "comfyledger.ledger.sqlite.writer.LOCK_TRY_S": 0.2}
"""How long commands wait for the lock, and how long one try for it takes."""


async def test_a_lock_in_the_middle_of_work_stops_it_and_ends_nothing(house: House) -> None:
    house.daemon.constants = {**QUICK, **SOON}
    await house.begin(seconds_per_image=0.2)
    async with house.app("app") as app:
        first = await app.submit("r1", quantity=6)
        with write_lock(house.state / "ledger.db"):
            await until(lambda: reasons(house) == {"ledger_locked"}, "readiness says why")
            with pytest.raises(Refusal, match="busy") as refused:
                await app.submit("r2")
            assert "holds the ledger's lock" in refused.value.data["message"]
            assert await app.submit("r1", quantity=6) == {**first, "repeated": True}
            assert "holds the ledger's lock" in (await app.ask("server_info"))["locked_text"]
            house.daemon.check_alive()
        second = await app.submit("r2")
        assert second["numbers"] == [7, 8, 9]
        ended = await app.settled(first["batch_id"], second["batch_id"])
        assert [batch["stored"] for batch in ended] == [6, 3]
        assert "locked_text" not in await app.ask("server_info")
    assert ready(house)["ready"]
    said = house.daemon.last_words()
    assert (said.count("ledger.locked"), said.count("ledger.unlocked")) == (1, 1)
    house.daemon.end()
    check_tables(house.state / "ledger.db")


async def test_an_idle_daemon_reports_a_lock_and_starts_under_one(house: House) -> None:
    house.daemon.constants = {**QUICK, **SOON}
    await house.begin()
    with write_lock(house.state / "ledger.db"):
        await until(lambda: "ledger_locked" in reasons(house), "readiness says why")
        house.daemon.end()
        await house.daemon.begin()
        await until(lambda: "ledger_locked" in reasons(house), "readiness says why")
    async with house.app("app") as app:
        batch = await app.submit("r1")
        await app.settled(batch["batch_id"])
