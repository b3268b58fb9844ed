"""A store that does not work is tried again after a while by itself, and at once if a person says so."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.core.scheduling import lanes, pending_work
from comfyledger.plugin_api import LaneFault
from support.waiting import until
from support.wire_app import App, Refusal

HOUR_MS = 3_600_000


@pytest.fixture
def tried_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe comes by itself while the test runs."""
    for module in (lanes, pending_work):
        monkeypatch.setattr(module, "PROBE_FIRST_MS", HOUR_MS)
    monkeypatch.setattr(lanes, "PROBE_LAST_MS", HOUR_MS)


class Breaking:
    """The folder store of a door, broken and repaired at will."""

    def __init__(self, door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.is_broken = True
        self._put = door.context.stores["folder"].store.put
        monkeypatch.setattr(door.context.stores["folder"].store, "put", self.put)

    async def put(self, deposit: Any) -> Any:
        self.calls += 1
        return LaneFault("not_reached", "The shelf is away") if self.is_broken else await self._put(deposit)


async def codes(app: App) -> list[str]:
    return [lane.get("code", "") for lane in (await app.ask("server_info"))["lanes"]]


def running(door: Any) -> int:
    """How many calls run; the next try is set when a call is over."""
    return int(door.context.view.open_counts()["running"])


@pytest.mark.usefixtures("tried_by_hand")
async def test_a_store_in_trouble_is_tried_when_somebody_resumes_it(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Breaking(door, monkeypatch)
    async with door.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: door.context.view.in_trouble("store/folder") and not running(door), "it is in trouble")
        calls, position = store.calls, door.position
        assert await app.ask("resume", scope="store:folder") == {"images": 0, "tried": True}
        await until(lambda: store.calls == calls + 1 and not running(door), "it was tried once more")
        assert await codes(app) == ["not_reached"]
        assert door.position == position, "a try that fails is no event"
        store.is_broken = False
        await app.ask("resume", scope="store:folder")
        await app.settled(asked["batch_id"])
        assert await codes(app) == []
        with pytest.raises(Refusal, match="nothing_to_do"):
            await app.ask("resume", scope="store:folder")


@pytest.mark.usefixtures("tried_by_hand")
async def test_a_pause_of_a_store_in_trouble_ends_and_it_is_tried(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Breaking(door, monkeypatch)
    async with door.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: door.context.view.in_trouble("store/folder") and not running(door), "it is in trouble")
        await app.ask("pause", scope="store:folder")
        store.is_broken = False
        assert (await app.ask("resume", scope="store:folder"))["tried"]
        await app.settled(asked["batch_id"])
