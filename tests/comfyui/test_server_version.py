"""The version of a ComfyUI is that of its present connection, and no prompt waits long for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from comfyledger.comfyui import server_version
from comfyledger.comfyui.server_version import ServerVersion
from comfyledger.comfyui.transfer import NotReached


class Server:
    """Answers `/system_stats` once it may."""

    url = "http://127.0.0.1:1"

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer: dict[str, Any] | NotReached = answer
        self.may = asyncio.Event()
        self.may.set()

    async def system_stats(self) -> dict[str, Any]:
        await self.may.wait()
        if isinstance(self.answer, NotReached):
            raise self.answer
        return self.answer


def saying(version: object) -> dict[str, Any]:
    return {"system": {"comfyui_version": version}}


def version_of(server: Any) -> ServerVersion:
    return ServerVersion(server)


@pytest.mark.parametrize(
    ("answer", "text"),
    [(saying("0.29.0"), "0.29.0"), (saying(None), ""), ({}, ""), ({"system": 7}, ""), (saying("x" * 99), "x" * 32)],
)
async def test_it_is_what_the_server_says_cut_to_a_bound(answer: dict[str, Any], text: str) -> None:
    version = version_of(Server(answer))
    assert await version.known() == ""
    version.renew()
    assert await version.known() == text


async def test_the_version_of_an_earlier_connection_is_not_taken_for_this_one() -> None:
    server = Server(saying("0.28.0"))
    version = version_of(server)
    version.renew()
    assert await version.known() == "0.28.0"
    server.answer = NotReached("not_reached", "down", sent=False)
    version.renew()
    assert await version.known() == ""


async def test_nobody_waits_long_for_a_server_that_does_not_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_version, "WAIT_S", 0.01)
    server = Server(saying("0.29.0"))
    server.may.clear()
    version = version_of(server)
    version.renew()
    assert await version.known() == ""
    server.may.set()
    assert await version.known() == "0.29.0"
