"""How long inputs stay, who makes room for whom, and what a deletion leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.decide.decide import Message
from comfyledger.core.inputs import InputRow
from comfyledger.core.reports import Report
from comfyledger.errors import Refused
from comfyledger.ledger.observers import Committed
from comfyledger.workers.inputs import retention as retention_module
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.inputs.retention import DAY_MS, YOUNG_MS, InputRetention
from comfyledger.workers.inputs.room import NoRoom
from comfyledger.workers.media.media_file import ProvedFile
from support.core_builders import PlainLedger, forget, loading, one_stored, submit
from support.input_files import digest, opened
from support.spool_files import image, stream
from support.waiting import DEADLINE_S, until

FILES = [image(colour=colour) for colour in range(9)]
SIZE = len(FILES[0])
NAMES = [digest(content) for content in FILES]
OLD_MS = 100 * DAY_MS


class AtNorth:
    """A fleet in which another box keeps some inputs."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def is_copy(self, row: InputRow) -> bool:
        return row.sha256 in self._names


class House:
    """A folder of inputs, its retention, and a ledger that is only rows. `now_ms` is the clock of all of them."""

    def __init__(
        self, root: Path, keep_days: float = 7, quota_bytes: int = 1_000_000, copies: AtNorth | None = None
    ) -> None:
        self.ledger = PlainLedger()
        self.ledger.now_ms = OLD_MS
        self.stuck_lanes: list[tuple[str, str]] = []
        self.configured: set[str] = set()
        self.store = opened(root, self, quota_bytes=quota_bytes)  # type: ignore[arg-type]
        self.remover = InputRemover(self.store, self)  # type: ignore[arg-type]
        self.retention = InputRetention(
            self.store,
            self,
            self,
            self.remover,
            keep_days,
            quota_bytes,
            lambda: self.ledger.now_ms,  # type: ignore[arg-type]
            lambda: self.configured,
            copies,
        )

    # ---- what the daemon would read

    async def known(self, sha256s: list[str]) -> dict[str, str]:
        return {row.sha256: row.extension for row in self.rows() if row.here and row.sha256 in sha256s}

    async def lost(self, sha256s: Sequence[str]) -> dict[str, str]:
        lost = [row for row in self.rows() if row.labels_before and not row.here and not row.forgetting]
        return {row.sha256: row.extension for row in lost if row.sha256 in sha256s}

    async def inputs_kept(self, after: str = "", limit: int = 1_000) -> list[InputRow]:
        return [row for row in self.rows() if row.here and row.sha256 > after]

    async def inputs_unused(self, ended_before_ms: int, limit: int) -> list[InputRow]:
        free = [row for row in self.rows() if not self.ledger.use_of(row.sha256).open]
        usable = [row for row in free if row.is_usable and self.last_ms(row) < ended_before_ms]
        return [row for row in free if row.is_ending] + sorted(usable, key=self.last_ms)

    def rows(self) -> list[InputRow]:
        rows = (row for row in self.ledger.rows.values() if isinstance(row, InputRow))
        return sorted(rows, key=lambda row: row.sha256)

    def last_ms(self, row: InputRow) -> int:
        return max(row.added_ms, self.ledger.use_of(row.sha256).ended_ms)

    # ---- what workers report

    async def report(self, report: Report) -> msgspec.Struct | None:
        await asyncio.sleep(0)
        return self.take(report)

    def take(self, message: Message) -> Any:
        answer = self.ledger.when(message).answer
        rows = {("", "", number): row for number, row in enumerate(self.ledger.changed)}
        self.retention.committed(Committed([], rows, 1, 0.0))  # type: ignore[arg-type]
        return answer

    async def stuck(self, lane: str, code: str, text: str) -> None:
        self.stuck_lanes.append((lane, code))

    async def works(self, lane: str) -> None:
        self.stuck_lanes.clear()

    # ---- what tests do

    async def add(self, number: int, label: str = "app", *, later_ms: int = 0) -> None:
        self.ledger.now_ms += later_ms
        await self.store.add(stream(FILES[number]), "", _Adding(self, label))

    def use(self, number: int, batch: str = "b1") -> None:
        self.take(submit(batch, 1, loads=(loading(NAMES[number]),)))

    def end(self, batch: str = "b1") -> None:
        for message in one_stored(batch=batch):
            self.take(message)

    async def clear(self, *, later_ms: int = 0) -> list[int]:
        """A sweep, with the deletions that are owed then. Which inputs are left."""
        self.ledger.now_ms += later_ms
        await self.retention.clear()
        return await self.carried_out()

    async def carried_out(self) -> list[int]:
        for row in self.rows():
            if row.here == "removing":
                await self.remover.remove(row.sha256)
        return self.left()

    def left(self) -> list[int]:
        there = {path.name[:64] for path in self.store.path_of(NAMES[0], "png").parent.parent.rglob("*.png")}
        assert there == set(self.store.sizes) == {row.sha256 for row in self.rows() if row.here}
        return [number for number, name in enumerate(NAMES) if name in there]

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.retention.run())
        try:
            yield
        finally:
            running.cancel()


class _Adding:
    def __init__(self, house: House, label: str) -> None:
        self._house, self._label = house, label

    async def knows(self, sha256: str) -> bool:
        return any(row.sha256 == sha256 and row.is_usable and self._label in row.labels for row in self._house.rows())

    async def record(self, file: ProvedFile) -> Any:
        about = (file.sha256, file.size_bytes, file.extension, file.width, file.height)
        return self._house.take(AddInput(self._label, *about, "whole"))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "inputs")


@pytest.mark.parametrize(("later", "left"), [(6.9, [0]), (7.1, [])])
async def test_an_input_that_nobody_uses_stays_for_the_days_it_shall(
    house: House, later: float, left: list[int]
) -> None:
    await house.add(0)
    assert await house.clear(later_ms=int(later * DAY_MS)) == left


async def test_what_the_configuration_names_stays_whether_it_is_used_or_not(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=2 * SIZE + 10)
    house.configured = {NAMES[0]}
    for number in range(2):
        await house.add(number, later_ms=YOUNG_MS)
    await house.add(2, later_ms=YOUNG_MS)
    assert house.left() == [0, 2]
    assert await house.clear(later_ms=40 * DAY_MS) == [0]
    house.configured.clear()
    assert await house.clear() == []


async def test_a_copy_of_what_another_box_keeps_makes_room_without_an_event(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=2 * SIZE + 10, copies=AtNorth(NAMES[0]))
    for number in range(3):
        await house.add(number, later_ms=YOUNG_MS)
    assert [house.store.has(name) for name in NAMES[:3]] == [False, True, True]
    assert all(row.is_usable for row in house.rows())


async def test_what_lies_at_another_box_makes_no_room_here_and_is_not_missing(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=SIZE + 10, copies=AtNorth())
    house.take(AddInput("app", NAMES[5], SIZE, "png", 4, 4, "whole", "north"))
    assert await house.retention.report_missing() == 0
    for number in range(2):
        await house.add(number, later_ms=YOUNG_MS)
    usable = {row.sha256 for row in house.rows() if row.is_usable}
    assert usable == {NAMES[1], NAMES[5]}


async def test_the_days_begin_when_the_last_batch_has_ended(house: House) -> None:
    await house.add(0)
    house.use(0)
    assert await house.clear(later_ms=20 * DAY_MS) == [0]
    house.end()
    assert await house.clear(later_ms=6 * DAY_MS) == [0]
    assert await house.clear(later_ms=2 * DAY_MS) == []


async def test_what_was_just_added_stays_a_while_even_if_nothing_is_kept(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", keep_days=0)
    await house.add(0)
    assert await house.clear(later_ms=YOUNG_MS // 2) == [0]
    assert await house.clear(later_ms=YOUNG_MS) == []


@pytest.mark.parametrize("is_open", [True, False])
async def test_what_is_forgotten_goes_as_soon_as_no_open_batch_needs_it(house: House, *, is_open: bool) -> None:
    await house.add(0)
    if is_open:
        house.use(0)
    async with house.sweeping():
        house.take(ForgetInput("app", NAMES[0]))
        if is_open:
            assert await house.carried_out() == [0]
            house.end()
        await until(lambda: house.rows()[0].here == "removing", "it is erased")
    assert await house.carried_out() == []


async def test_a_batch_that_is_forgotten_takes_its_input_along(house: House) -> None:
    await house.add(0)
    house.use(0)
    async with house.sweeping():
        house.take(forget())
        await until(lambda: house.rows()[0].here == "removing", "it is erased")


async def test_a_burst_of_batches_is_one_sweep(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first, sweeps = list[int](), list[int]()

    async def counted() -> int:
        sweeps.append(1)
        return 0

    async def whole() -> int:
        first.append(1)
        return 0

    monkeypatch.setattr(house.retention, "clear", whole)
    monkeypatch.setattr(house.retention, "clear_forgotten", counted)
    async with house.sweeping():
        await until(lambda: first, "the first sweep is over")
        for number in range(50):
            house.take(AddInput("app", f"{number:064x}", 1, "png", 1, 1, "whole"))
            house.take(submit(f"b{number}", 1, loads=(loading(f"{number:064x}"),)))
            house.end(f"b{number}")
            await asyncio.sleep(0)
    assert len(sweeps) == 1


# ---- room


async def test_what_was_needed_longest_ago_makes_room(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=4 * SIZE + 10)
    for number in range(4):
        await house.add(number, later_ms=YOUNG_MS)
    house.use(0)
    house.end()
    house.use(1, "b2")
    await house.add(4, later_ms=YOUNG_MS)
    assert house.left() == [0, 1, 3, 4]
    assert not house.rows()[0].forgetting


async def test_nothing_goes_for_a_file_that_would_not_fit_anyway(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=3 * SIZE + 10)
    for number in range(3):
        await house.add(number)
    house.use(0)
    house.ledger.now_ms += YOUNG_MS
    await house.add(3)
    assert len(house.left()) == 3
    left = house.left()
    with pytest.raises(NoRoom):
        await house.store.add(stream(bytes(4 * SIZE), SIZE), "a.abc", _Adding(house, "app"))
    assert house.left() == left


async def test_what_was_just_added_makes_no_room(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=2 * SIZE + 10)
    for number in range(2):
        await house.add(number)
    with pytest.raises(NoRoom):
        await house.add(2)
    assert house.left() == [0, 1]


async def test_files_that_come_at_once_make_room_without_waiting_for_each_other(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs", quota_bytes=4 * SIZE + 10)
    for number in range(4):
        await house.add(number)
    house.ledger.now_ms += YOUNG_MS
    async with asyncio.timeout(DEADLINE_S):
        ends = await asyncio.gather(
            *(house.add(number) for number in (4, 5)),
            *(house.add(number, "other") for number in (0, 1, 2, 3)),
            return_exceptions=True,
        )
    assert all(end is None or isinstance(end, NoRoom) for end in ends)
    assert len(house.left()) == 4
    assert house.store.used_bytes <= 4 * SIZE + 10


async def test_who_adds_what_was_just_to_make_room_does_not_stop_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "inputs", quota_bytes=2 * SIZE + 10)
    for number in range(2):
        await house.add(number)
    house.ledger.now_ms += YOUNG_MS
    adding: list[asyncio.Task[None]] = []
    report = house.report

    async def reported(about: Report) -> msgspec.Struct | None:
        answer = await report(about)
        if not adding:
            adding.append(asyncio.create_task(house.add(0)))
            await until(lambda: house.store.is_adding(NAMES[0]))
        return answer

    monkeypatch.setattr(house, "report", reported)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(NoRoom):
            await house.add(2)
        await adding[0]
    assert house.left() == [0]


async def test_a_quota_that_was_lowered_is_kept_from_the_next_sweep_on(tmp_path: Path) -> None:
    house = House(tmp_path / "inputs")
    for number in range(4):
        await house.add(number, later_ms=YOUNG_MS)
    house.use(0)
    house.retention._quota_bytes = 2 * SIZE + 10
    assert await house.clear(later_ms=YOUNG_MS) == [0, 3]
    house.retention._quota_bytes = 0
    assert await house.clear() == [0]


# ---- what is missing, and what the disk does not delete


async def test_what_is_missing_at_the_start_may_be_added_again(house: House) -> None:
    for number in (0, 1):
        await house.add(number)
    house.use(0)
    house.store.path_of(NAMES[0], "png").unlink()
    again = House(house.store.path_of(NAMES[0], "png").parent.parent)
    again.ledger = house.ledger
    await again.store.sweep()
    assert await again.retention.report_missing() == 1
    assert await again.carried_out() == [1]
    assert await again.retention.report_missing() == 0
    await again.add(0)
    assert [row.is_usable for row in again.rows()] == [True, True]


async def lost_and_found(house: House, content: bytes, number: int = 0) -> House:
    """The house after two starts: at the first the file is away, at the second it is there with some content."""
    path = house.store.path_of(NAMES[number], "png")
    path.unlink()
    for is_there in (False, True):
        if is_there:
            path.write_bytes(content)
        ledger, house = house.ledger, House(path.parent.parent)
        house.ledger = ledger
        await house.store.sweep(house.lost)
        await house.retention.take_back()
        await house.retention.report_missing()
        await house.carried_out()
    return house


async def test_what_comes_while_missing_files_are_reported_stays(house: House) -> None:
    await house.add(0)
    house.store.path_of(NAMES[0], "png").unlink()
    again = House(house.store.path_of(NAMES[0], "png").parent.parent)
    again.ledger = house.ledger
    await again.store.sweep()
    _, missing = await asyncio.gather(again.add(0), again.retention.report_missing())
    assert missing == 0
    assert again.left() == [0]


async def test_a_file_whose_disk_was_away_at_a_start_is_used_again(house: House) -> None:
    for number in (0, 1):
        await house.add(number)
    again = await lost_and_found(house, FILES[0])
    assert again.left() == [0, 1]
    assert [row.is_usable for row in again.rows()] == [True, True]
    assert again.store.back == {}


async def test_other_bytes_under_its_name_are_not_taken_for_it(house: House) -> None:
    await house.add(0)
    again = await lost_and_found(house, FILES[1])
    assert again.left() == []


async def test_a_disk_that_does_not_delete_pauses_the_lane_and_the_deletion_stays_owed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    await house.add(0)
    house.take(ForgetInput("app", NAMES[0]))
    with monkeypatch.context() as patch:
        patch.setattr("comfyledger.workers.inputs.folder.discard_each", refuses)
        await house.remover.remove(NAMES[0])
        assert house.stuck_lanes == [("inputs", "not_deleted")]
        assert house.rows()[0].here == "removing"
    assert await house.carried_out() == []
    assert house.stuck_lanes == []


async def test_a_ledger_that_cannot_be_read_does_not_end_the_sweeps(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    async def locked(*_: object) -> list[InputRow]:
        tried.append(1)
        raise Refused("busy")

    await house.add(0)
    monkeypatch.setattr(house, "inputs_unused", locked)
    monkeypatch.setattr(retention_module, "SWEEP_EVERY_S", 0.0)
    async with house.sweeping():
        await until(lambda: len(tried) > 2, "it sweeps again")
