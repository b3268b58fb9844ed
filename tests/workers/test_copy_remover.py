"""A forgotten input is removed from a ComfyUI while the ledger says so, and stays owed until it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.commands import ForgetInput
from comfyledger.core.scheduling.effects import RemoveInput
from comfyledger.workers.comfyui.copy_remover import CopyRemover
from comfyledger.workers.comfyui.input_files import FileFault
from support.core_builders import adding, given, name_of, sending

EFFECT = RemoveInput("1f", "main", name_of("1f"))


class House:
    """The ledger, and a folder that has the file. `trouble`: what removing it raises."""

    def __init__(self) -> None:
        self.ledger = given(adding("1f"), sending("1f"), ForgetInput("app", "1f"))
        self.trouble: Exception | None = None
        self.troubled = False
        self.calls: list[str] = []
        part: Any = self
        self.remover = CopyRemover(part, part, part)

    async def remove(self, sha256: str, name: str, is_unwanted: Callable[[], Awaitable[bool]]) -> bool | None:
        assert (sha256, name) == ("1f", name_of("1f"))
        if not await is_unwanted():
            return None
        self.calls.append("remove")
        if self.trouble is not None:
            raise self.trouble
        return True

    async def report(self, report: Any) -> Any:
        return self.ledger.when(report).answer

    def in_trouble(self, _: str) -> bool:
        return self.troubled

    async def system_stats(self) -> dict[str, Any]:
        self.calls.append("ask")
        return {}

    async def works(self, _: str) -> None:
        self.calls.append("works")

    async def stuck(self, lane: str, code: str, _: str) -> None:
        self.calls.append(f"stuck {lane} {code}")

    def state(self) -> str:
        row: Any = self.ledger.rows["input", "1f", ""]
        return str(row.copies[0].state)


@pytest.fixture
def house() -> House:
    return House()


async def test_a_copy_is_removed_once(house: House) -> None:
    for _ in range(2):
        await house.remover.remove(EFFECT)
    assert (house.calls, house.state()) == (["remove"], "removed")


async def test_a_copy_that_is_wanted_again_stays(house: House) -> None:
    house.ledger.given(adding("1f"))
    await house.remover.remove(EFFECT)
    assert (house.calls, house.state()) == ([], "sent")


@pytest.mark.parametrize(
    ("trouble", "calls"),
    [
        (NotReached("timeout", "", sent=True), ["remove", "stuck backend/main timeout"]),
        (FileFault("ComfyUI answered with HTTP 500.", final=False), ["remove"]),
    ],
)
async def test_a_copy_that_cannot_be_removed_stays_owed(house: House, trouble: Exception, calls: list[str]) -> None:
    house.trouble = trouble
    await house.remover.remove(EFFECT)
    assert (house.calls, house.state()) == (calls, "removing")


async def test_a_lane_in_trouble_is_not_probed_by_a_removal(house: House) -> None:
    house.troubled = True
    await house.remover.remove(EFFECT)
    assert house.calls == ["ask", "works", "remove"]
