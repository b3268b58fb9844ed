"""A house for each test, ended by its process ids, with the laws that hold in every house checked at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from whole_house import House

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """Nothing runs yet: a test calls `begin`."""
    made = House(tmp_path)
    try:
        yield made
        if not request.node.stash.get(FAILED, False):
            check_laws(made)
    finally:
        made.end()
        if request.node.stash.get(FAILED, False):
            print(f"logs are in {tmp_path}\n{made.daemon.last_words()}\n{made.comfyui.last_words()}")


def check_laws(house: House) -> None:
    """No error in the daemon's log, and never everybody's history asked for."""
    assert [fact for fact in house.daemon.errors() if fact["event"] not in house.expected_errors] == []
    asked = {(one["method"], one["path"]) for one in house.comfyui.requests()}
    assert not {("GET", "/history"), ("GET", "/api/history")} & asked
