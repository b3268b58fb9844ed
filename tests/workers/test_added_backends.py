"""Backends that clients add run as the ledger says: after a commit, after a start, and until their time ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from comfyledger.core.backends import BackendRow
from comfyledger.core.commands import AddBackend, Command, RemoveBackend
from comfyledger.core.reports import BackendEnded, Report
from comfyledger.errors import Refused
from comfyledger.ledger.observers import Committed
from comfyledger.workers.backends.added import AddedBackends
from support.core_builders import PlainLedger
from support.waiting import pass_time, until

ALLOWED = ("http://gpu-*.example:8188", "http://10.1.*.*:8188/comfy")
ADD = AddBackend("app", "gpu-7", "http://gpu-7.example:8188", ("flux",), 60)


class Running:
    """What runs. It is slow where a test holds `free`, and fails for the names in `broken`."""

    def __init__(self) -> None:
        self.configured: Mapping[str, str] = {"main": "http://me:secret@10.1.0.1:8188/comfy"}
        self.rows: dict[str, BackendRow] = {}
        self.calls: list[str] = []
        self.broken: set[str] = set()

    async def add(self, row: BackendRow) -> None:
        self.calls.append(f"add {row.name}")
        await asyncio.sleep(0)
        if row.name in self.broken:
            raise RuntimeError("broken")
        self.rows[row.name] = row

    async def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")
        await asyncio.sleep(0)
        self.rows.pop(name, None)


class House:
    """A ledger in memory, whose commits the backends observe."""

    def __init__(self, allowed: tuple[str, ...] = ALLOWED) -> None:
        self.ledger, self.running = PlainLedger(), Running()
        self.reports: list[Report] = []
        self.added = self._made(allowed)
        self.task: asyncio.Task[None] | None = None

    def _made(self, allowed: tuple[str, ...]) -> AddedBackends:
        house: Any = self
        return AddedBackends(self.running, house, house, allowed)

    async def backends(self) -> list[BackendRow]:
        """As the reader."""
        return [row for row in self.ledger.rows.values() if isinstance(row, BackendRow) and row.present]

    async def report(self, report: Report) -> None:
        """As the reporter. Reports are decided before commands."""
        self.reports.append(report)
        self.decide(report)
        await asyncio.sleep(0)

    def decide(self, message: Command[Any] | Report) -> Any:
        then = self.ledger.when(message)
        rows = {("", "", str(at)): row for at, row in enumerate(self.ledger.changed)}
        self.added.committed(Committed([], rows, 1, 0.0))
        return then.answer

    async def starts(self, allowed: tuple[str, ...] = ALLOWED) -> None:
        """Another daemon on the same ledger."""
        await self.ends()
        self.running = Running()
        self.added = self._made(allowed)
        await self.added.start()
        self.task = asyncio.create_task(self.added.run())

    async def ends(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def passes(self, seconds: float) -> None:
        """Time passes, and what is due then has been done."""
        await turns()
        pass_time(seconds)
        await turns()

    @property
    def reasons(self) -> list[str]:
        return [report.reason for report in self.reports if isinstance(report, BackendEnded)]


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.starts()
    yield house
    await house.ends()


def row_of(command: AddBackend) -> BackendRow:
    return BackendRow(command.name, command.url, command.tags, command.ttl_s, command.queue_depth)


def refused(house: House, name: str, url: str) -> Refused:
    with pytest.raises(Refused) as found:
        house.added.check(name, url)
    assert found.value.hint
    return found.value


# ---- what runs


async def test_what_is_committed_runs_and_what_is_removed_does_not(house: House) -> None:
    house.decide(ADD)
    await until(lambda: house.running.rows == {"gpu-7": row_of(ADD)})
    house.decide(RemoveBackend("app", "gpu-7"))
    await until(lambda: house.running.rows == {})
    assert house.running.calls == ["add gpu-7", "remove gpu-7"]


async def test_what_was_added_runs_again_after_a_start_before_anything_else_does(house: House) -> None:
    house.decide(ADD)
    house.decide(AddBackend("app", "gpu-8", "http://gpu-8.example:8188"))
    house.decide(RemoveBackend("app", "gpu-8"))
    await house.ends()
    house.running = Running()
    house.added = house._made(ALLOWED)
    await house.added.start()
    assert house.running.rows == {"gpu-7": row_of(ADD)}


async def test_one_that_fails_does_not_keep_the_others_from_running(house: House) -> None:
    house.running.broken = {"gpu-7"}
    house.decide(ADD)
    house.decide(AddBackend("app", "gpu-8", "http://gpu-8.example:8188"))
    await until(lambda: "gpu-8" in house.running.rows)


# ---- times to live


async def test_one_that_is_not_added_again_in_time_ends(house: House) -> None:
    house.decide(ADD)
    await house.passes(59)
    assert house.reasons == []
    await house.passes(2)
    await until(lambda: house.running.calls == ["add gpu-7", "remove gpu-7"])
    assert house.reasons == ["expired"]
    assert await house.backends() == []


async def test_one_without_a_time_to_live_stays(house: House) -> None:
    house.decide(AddBackend("app", "gpu-7", ADD.url))
    await house.passes(1_000_000)
    assert (house.reasons, list(house.running.rows)) == ([], ["gpu-7"])


async def test_adding_it_again_renews_its_time_without_an_event(house: House) -> None:
    house.decide(ADD)
    for _ in range(3):
        await house.passes(50)
        house.added.renew(row_of(ADD))
        assert not house.decide(ADD).changed
    await house.passes(50)
    assert (house.reasons, len(house.ledger.log)) == ([], 1)
    await house.passes(11)
    await until(lambda: house.reasons == ["expired"])


async def test_other_values_renew_nothing_until_they_are_in_the_ledger(house: House) -> None:
    house.decide(ADD)
    await house.passes(50)
    house.added.renew(row_of(AddBackend("app", "gpu-7", ADD.url, (), 60)))
    await house.passes(11)
    await until(lambda: house.reasons == ["expired"])


async def test_one_that_is_added_again_as_its_time_ends_runs(house: House) -> None:
    """The report of the end and the renewal cross. The report is decided first, so the values are new."""
    house.decide(ADD)
    await turns()
    pass_time(61)
    while not house.reasons:
        await asyncio.sleep(0)
    house.added.renew(row_of(ADD))
    assert house.decide(ADD).changed
    await house.passes(59)
    assert house.running.rows == {"gpu-7": row_of(ADD)}
    assert house.reasons == ["expired"]


async def test_one_that_is_renewed_while_the_ends_of_others_are_reported_stays(house: House) -> None:
    others = [AddBackend("app", f"gpu-{number}", f"http://gpu-{number}.example:8188", (), 60) for number in (1, 2, 3)]
    for one in (ADD, *others):
        house.decide(one)
    await turns()
    pass_time(61)
    while not house.reasons:
        await asyncio.sleep(0)
    house.added.renew(row_of(ADD))
    assert not house.decide(ADD).changed
    await turns()
    assert house.reasons == ["expired"] * 3
    assert list(house.running.rows) == ["gpu-7"]


@pytest.mark.parametrize("command", [AddBackend("app", "gpu-7", ADD.url), RemoveBackend("app", "gpu-7")])
async def test_one_whose_time_was_taken_back_does_not_end(house: House, command: Command[Any]) -> None:
    house.decide(ADD)
    await house.passes(50)
    house.decide(command)
    await house.passes(50)
    assert house.reasons == []


async def test_a_start_counts_the_time_anew(house: House) -> None:
    house.decide(ADD)
    await house.passes(50)
    await house.starts()
    await house.passes(50)
    assert (house.reasons, list(house.running.rows)) == ([], ["gpu-7"])
    await house.passes(11)
    await until(lambda: house.reasons == ["expired"])


# ---- what the configuration allows


@pytest.mark.parametrize("url", ["http://gpu-9.example:8188", "http://10.1.2.3:8188/comfy"])
async def test_an_address_that_is_described_may_be_added(house: House, url: str) -> None:
    house.added.check("gpu-9", url)


@pytest.mark.parametrize(
    ("name", "url", "code", "path"),
    [
        ("main", "http://gpu-9.example:8188", "backend_exists", "name"),
        ("gpu-9", "http://10.1.0.1:8188/comfy", "backend_exists", "url"),
        ("gpu-9", "http://gpu-9.example.evil.example:8188", "backend_not_allowed", "url"),
        ("gpu-9", "http://169.254.169.254:8188", "backend_not_allowed", "url"),
        ("gpu-9", "http://[::ffff:169.254.169.254]:8188", "backend_not_allowed", "url"),
    ],
)
async def test_what_the_configuration_rules_out_is_refused(
    house: House, name: str, url: str, code: str, path: str
) -> None:
    found = refused(house, name, url)
    assert (found.code, found.path, "secret" in str(found)) == (code, path, False)


async def test_a_link_local_address_is_refused_even_if_it_is_described() -> None:
    house = House(("http://169.254.169.254:8188",))
    found = refused(house, "gpu-9", "http://169.254.169.254:8188")
    assert (found.code, "link-local" in found.message) == ("backend_not_allowed", True)


@pytest.mark.parametrize(
    ("configured", "allowed", "reason"),
    [
        ({}, (), "not_allowed"),
        ({"gpu-7": "http://other.example"}, ALLOWED, "configured"),
        ({"main": "http://gpu-7.example:8188"}, ALLOWED, "configured"),
    ],
)
async def test_what_another_configuration_rules_out_never_runs_after_a_start(
    house: House, configured: dict[str, str], allowed: tuple[str, ...], reason: str
) -> None:
    house.decide(ADD)
    await house.ends()
    house.running = Running()
    house.running.configured = configured
    house.added = house._made(allowed)
    await house.added.start()
    house.task = asyncio.create_task(house.added.run())
    await until(lambda: house.reasons == [reason])
    await until(lambda: house.running.calls == ["remove gpu-7"])
    assert await house.backends() == []


async def test_what_the_configuration_does_not_allow_any_more_ends_when_it_is_read_again(house: House) -> None:
    house.decide(ADD)
    await until(lambda: house.running.rows)
    house.added.reread(ALLOWED)
    await turns()
    assert house.reasons == []
    house.added.reread(ALLOWED[1:])
    await until(lambda: house.running.rows == {})
    assert house.reasons == ["not_allowed"]


async def test_one_that_is_moved_to_an_allowed_address_at_the_last_moment_stays(house: House) -> None:
    house.decide(AddBackend("app", "gpu-7", "http://evil.example:8188"))
    house.decide(AddBackend("app", "gpu-8", "http://gpu-8.example:8188"))
    while house.running.calls != ["add gpu-8"]:
        await asyncio.sleep(0)
    house.decide(ADD)
    await until(lambda: "gpu-7" in house.running.rows)
    assert house.reasons == []
