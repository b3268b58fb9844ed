"""The configured ComfyUIs and those that clients added are one set, in which the configuration comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from comfyledger.core.backends import BackendRow
from comfyledger.settings import ComfyUI as Section
from comfyledger.startup.all_backends import AllBackends
from comfyledger.startup.build_comfyui import Wanted

MAIN = Wanted(Section(url="http://me:secret@main.example:8188"))
ROW = BackendRow("gpu-7", "http://gpu-7.example:8188", ("flux",), 60, 3)


class Taken:
    """What it was to have at last."""

    def __init__(self) -> None:
        self.wanted: dict[str, Wanted] = {}

    def take(self, wanted: Mapping[str, Wanted]) -> None:
        self.wanted = dict(wanted)


@pytest.fixture
def taken() -> Taken:
    return Taken()


def both(taken: Taken, *trusted: str) -> AllBackends:
    backends: Any = taken
    return AllBackends(backends, {"main": MAIN}, trusted)


async def test_an_added_one_comes_after_those_of_the_configuration_and_gets_no_secrets(taken: Taken) -> None:
    running = both(taken)
    await running.add(ROW)
    section = Section(url=ROW.url, tags=("flux",), queue_depth=3)
    assert taken.wanted == {"main": MAIN, "gpu-7": Wanted(section, is_added=True, gets_secrets=False)}
    assert list(taken.wanted) == ["main", "gpu-7"]
    assert running.configured == {"main": MAIN.section.url}


async def test_one_that_is_trusted_gets_secrets_but_no_keys(taken: Taken) -> None:
    await both(taken, "gpu-7").add(ROW)
    assert taken.wanted["gpu-7"].gets_secrets
    assert taken.wanted["gpu-7"].keys == {}


async def test_one_that_is_removed_is_gone_and_the_configuration_stays(taken: Taken) -> None:
    running = both(taken)
    await running.add(ROW)
    for name in ("gpu-7", "gpu-7", "main", "nowhere"):
        await running.remove(name)
    assert taken.wanted == {"main": MAIN}


async def test_another_configuration_keeps_what_was_added_and_takes_its_names(taken: Taken) -> None:
    running = both(taken)
    await running.add(ROW)
    other = Wanted(Section(url="http://other.example:8188"))
    running.configure({"other": other}, ("gpu-7",))
    assert list(taken.wanted) == ["other", "gpu-7"]
    assert taken.wanted["gpu-7"].gets_secrets, "it is trusted now"
    running.configure({"gpu-7": other}, ())
    assert taken.wanted == {"gpu-7": other}
    await running.remove("gpu-7")
    assert taken.wanted == {"gpu-7": other}
