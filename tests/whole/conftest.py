"""A house for each test, ended by its process ids, with the laws that hold in every house checked at the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.box_houses import BoxHouses
from support.cloudinary_process import CloudHouse
from support.fleet import Fleet
from support.processes import House, StandIn

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@contextlib.contextmanager
def kept(made: House, request: pytest.FixtureRequest) -> Iterator[House]:
    """Ended whatever happens, checked if the test went well, and shown if it did not."""
    try:
        yield made
        if not request.node.stash.get(FAILED, False):
            check_laws(made)
    finally:
        made.end()
        if request.node.stash.get(FAILED, False):
            print(f"logs are in {made.folder}\n{made.daemon.last_words()}\n{made.comfyui.last_words()}")


@contextlib.contextmanager
def kept_boxes(made: BoxHouses, request: pytest.FixtureRequest) -> Iterator[BoxHouses]:
    """The same for the boxes of a fleet."""
    try:
        yield made
        if not request.node.stash.get(FAILED, False):
            for one in made.all:
                check_laws(one)
    finally:
        made.end()
        if request.node.stash.get(FAILED, False):
            for one in made.all:
                print(f"logs are in {one.folder}\n{one.daemon.last_words()}")


@pytest.fixture
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """Nothing runs yet: a test calls `begin`."""
    with kept(House(tmp_path), request) as made:
        yield made


@pytest.fixture
async def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    """A house with two stand-ins for ComfyUI, or with those that the test names as its parameter. Nothing runs yet: a
    test calls `begin_all`.
    """
    made = Fleet(tmp_path, getattr(request, "param", ("a", "b")))
    with kept(made, request):
        yield made


@pytest.fixture
async def cloud(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A house whose store is an account in dynamic folder mode. Nothing runs yet: a test calls `begin`."""
    with kept(CloudHouse(tmp_path), request) as made:
        yield made


@pytest.fixture(params=["s3", "gcs"])
async def objects(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A house whose store is a bucket of the stand-in for S3 or Google. Nothing runs yet: a test calls `begin`."""
    from support.object_house import ObjectHouse  # which needs obstore

    with kept(ObjectHouse(tmp_path, request.param), request) as made:
        yield made


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One stand-in for ComfyUI, for all daemons that a module kills."""
    running = StandIn(tmp_path_factory.mktemp("comfyui"), 0.0)
    try:
        asyncio.run(running.begin())
        yield running
    finally:
        running.end()


@pytest.fixture
def doomed_house(tmp_path: Path, standin: StandIn) -> Iterator[House]:
    """A house beside that stand-in, for a daemon that is killed again and again. Nothing runs yet."""
    standin.control(forget=True, hold=[], fail_next=0)
    made = House(tmp_path)
    made.comfyui = standin
    made.configure()
    try:
        yield made
    finally:
        if made.daemon.log.exists():
            made.daemon.signal(signal.SIGKILL)


@pytest.fixture
def side_by_side(tmp_path: Path) -> Callable[..., Awaitable[None]]:
    """Cases of one law at the same time, each in a house of its own: they wait more than they compute."""

    async def run(
        live: Callable[[Any, Any], Awaitable[None]], cases: Iterable[Any], make: Callable[[Path], House] = House
    ) -> None:
        """`live` gets a house in which nothing runs yet, and its case. Whatever it raises names the case."""
        async with asyncio.TaskGroup() as group:
            for number, case in enumerate(cases):
                folder = tmp_path / str(number)
                folder.mkdir()
                group.create_task(one(make(folder), case, live))

    async def one(house: House, case: Any, live: Callable[[Any, Any], Awaitable[None]]) -> None:
        try:
            await live(house, case)
            check_laws(house)
        except Exception as error:
            error.add_note(f"In the case of {case}, logs are in {house.folder}")
            print(f"{case}\n{house.daemon.last_words()}\n{house.comfyui.last_words()}")
            raise
        finally:
            house.end()

    return run


def check_laws(house: House) -> None:
    """No error in the daemon's log, and never everybody's history asked for."""
    assert [fact for fact in house.daemon.errors() if fact["event"] not in house.expected_errors] == []
    asked = {(one["method"], one["path"]) for one in house.comfyui.requests()}
    assert not {("GET", "/history"), ("GET", "/api/history")} & asked
