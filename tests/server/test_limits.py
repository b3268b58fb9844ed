"""Limits of one client: frames a second, images that are open, and how long it may take nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from comfyledger.client import Client
from comfyledger.core.scheduling.capacity import OpenImages
from comfyledger.server import session
from comfyledger.server.rate_limit import BURST_S, TokenBucket
from support.core_builders import PlainLedger, cancel, given, one_stored, submit
from support.waiting import DEADLINE_S
from support.wire_app import narrow_socket

ASKED = {"username": "a", "character": "b"}


# ---- frames


def test_frames_may_come_in_a_burst_and_then_evenly() -> None:
    bucket = TokenBucket(10.0, 0.0)
    assert [bucket.take(0.0) for _ in range(int(10 * BURST_S))] == [0.0] * 50
    assert bucket.take(0.0) == pytest.approx(0.1)
    assert bucket.take(0.1) == 0.0
    assert bucket.take(0.15) == pytest.approx(0.05)
    assert [bucket.take(1_000.0) for _ in range(51)] == [0.0] * 50 + [pytest.approx(0.1)]


def test_a_clock_that_stands_still_lets_no_more_in_than_the_burst() -> None:
    bucket = TokenBucket(1.0, 7.0)
    assert sum(bucket.take(7.0) == 0.0 for _ in range(100)) == int(BURST_S)


class Still(TokenBucket):
    """One for which no time passes, so that it does not count how fast this machine is."""

    def take(self, now_s: float) -> float:
        return super().take(self._seen_s)


async def test_who_sends_too_many_frames_is_told_and_slowed_and_nobody_else(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TokenBucket", Still)
    async with open_door(tmp_path, "frames_per_second_max = 10") as door, door.raw() as wild, door.raw() as calm:
        for number in range(55):
            await wild.socket.send(json.dumps({"type": "server_info", "id": number, "data": {}}))
        answers = [await wild.receive() for _ in range(55)]
        refused = [frame for frame in answers if frame["type"] == "error"]
        assert len(refused) == 55 - 10 * BURST_S
        assert {frame["data"]["code"] for frame in refused} == {"rate_limited"}
        assert all(0 < frame["data"]["retry_after_s"] <= 0.1 for frame in refused)
        assert {frame["id"] for frame in answers} == set(range(55))
        assert (await calm.ask("server_info"))["type"] == "result"


async def test_the_client_sends_again_what_came_too_soon(open_door: Any, tmp_path: Path) -> None:
    text = "frames_per_second_max = 60"
    async with open_door(tmp_path, text), Client(state_dir=tmp_path / "state") as client:
        asked = await asyncio.gather(*(client.server_info() for _ in range(340)))
    assert {one.position for one in asked} == {0}


# ---- open images


async def test_a_client_has_so_many_images_open_and_no_more(open_door: Any, tmp_path: Path) -> None:
    text = "[limits]\nopen_images_max = 5"
    async with open_door(tmp_path, text, seconds_per_image=0.0) as door, door.raw() as one, door.raw() as other:
        await one.ask("pause", scope="everything")
        await one.ask("hello", client="one")
        await other.ask("hello", client="other")
        first = await one.ask("submit_batch", request_id="1", quantity=3, **ASKED)
        with door.unchanged():
            refused = await one.ask("submit_batch", request_id="2", quantity=3, **ASKED)
        assert (refused["data"]["code"], "2 more" in refused["data"]["message"]) == ("too_many_open", True)
        again = await one.ask("submit_batch", request_id="1", quantity=3, **ASKED)
        assert again["data"]["numbers"] == first["data"]["numbers"]
        assert (await other.ask("submit_batch", request_id="1", quantity=5, **ASKED))["type"] == "result"
        await one.ask("cancel", batch_id=first["data"]["batch_id"])
        assert (await one.ask("submit_batch", request_id="2", quantity=5, **ASKED))["type"] == "result"


async def test_batches_that_come_together_do_not_go_beyond_together(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "[limits]\nopen_images_max = 10") as door, door.raw() as raw:
        await raw.ask("pause", scope="everything")
        await raw.ask("open_series", **ASKED)
        for number in range(20):
            data = {"request_id": str(number), "quantity": 3, **ASKED}
            await raw.socket.send(json.dumps({"type": "submit_batch", "id": number, "data": data}))
        answers = [await raw.receive() for _ in range(20)]
        assert sum(frame["type"] == "result" for frame in answers) == 3


def test_what_is_open_is_counted_as_batches_come_and_go() -> None:
    counted = OpenImages(10)
    ledger = given(submit(quantity=3))
    counted.apply([ledger.batch()])
    assert (counted.room_of("app"), counted.room_of("other")) == (7, 10)
    _go_on(ledger, counted, *one_stored(1))
    assert counted.room_of("app") == 8
    _go_on(ledger, counted, cancel())
    assert counted.room_of("app") == 10
    counted.apply([ledger.batch()])
    assert counted.room_of("app") == 10


def test_what_is_kept_and_not_stored_is_open_until_it_is() -> None:
    counted = OpenImages(10)
    ledger = given(submit(quantity=3))
    counted.apply([ledger.batch()])
    *kept, begun, uploaded = one_stored(1)
    _go_on(ledger, counted, *kept)
    assert (ledger.batch().pending, ledger.batch().kept) == (2, 1)
    assert counted.room_of("app") == 7
    _go_on(ledger, counted, cancel())
    assert (ledger.batch().pending, ledger.batch().kept) == (0, 1)
    assert counted.room_of("app") == 9
    _go_on(ledger, counted, begun, uploaded)
    assert counted.room_of("app") == 10


def _go_on(ledger: PlainLedger, counted: OpenImages, *messages: Any) -> None:
    for message in messages:
        ledger.given(message)
        counted.apply([ledger.batch()])


# ---- who takes nothing


async def test_a_client_that_takes_nothing_is_cut_off(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "STALL_S", 0.3)
    async with open_door(tmp_path, "frames_per_second_max = 1_000_000") as door, door.app() as working:
        with narrow_socket(door.url) as narrow:
            slow = await door.connect(sock=narrow, max_queue=1)
            asked = json.dumps({"type": "server_info", "id": 1, "data": {}})
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(ConnectionClosed):
                    await _send_for_ever(slow, asked)
        assert await working.ask("server_info")


async def _send_for_ever(slow: Any, frame: str) -> None:
    while True:
        await slow.send(frame)
        await asyncio.sleep(0)  # nothing ends a connection while the loop only sends
