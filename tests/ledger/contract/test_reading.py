"""Reading through the protocol `Reader`: rows, lists in pages, past events, and all of it while somebody writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import pytest

from comfyledger.core.commands import CancelBatch, HoldBatch, PauseLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.events import BatchRequested, Event, ImageAdded, ImageRenumbered, PromptSubmitting
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, RequestRow, Row, SeriesRow
from comfyledger.ledger.eventlog import Head, Line, decode
from comfyledger.ledger.ports import BatchFilter, ImageFilter, Ledger, LogWanted, Reader, Turns
from support.ledger_builders import NOW_MS, submission, take, take_one
from support.ledger_kinds import KINDS, Kind, Model, beside, by_id, together
from support.ledger_load import Load

MANY: Final = 10_000
SERIES: Final = submission().series[0].key
BATCH: Final = "batch-app-r10"
"""One of the random batches, of the user areg."""
GROUP: Final = 40


class Filled:
    """A ledger after many random messages, and the model of it."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.model = kind, Model()
        load = Load(self.model, 29)
        with kind.opened() as ledger:
            for group in range(1_500 // GROUP):
                messages: list[Message] = []
                now_ms = NOW_MS + group * 1_000
                for _ in range(GROUP):
                    messages.append(load.next())
                    self.model.decided(messages[-1], now_ms)
                together(ledger, messages, now_ms)
        assert self.model.batch(BATCH).user_key == "areg"

    def rows(self, kind: type[Row]) -> list[Any]:
        return [row for row in self.model.rows.values() if isinstance(row, kind)]

    @property
    def events(self) -> list[Event]:
        return [entry.event for entry in self.model.log]

    def names(self) -> Iterator[tuple[str, str, int]]:
        """Every name that was ever given, with batch and index."""
        for event in self.events:
            if isinstance(event, BatchRequested):
                yield from ((image.public_id, event.batch_id, image.index) for image in event.images)
            elif isinstance(event, ImageAdded | ImageRenumbered):
                yield f"{event.folder}/{event.file}", event.batch_id, event.image


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return Filled(KINDS[request.param](tmp_path_factory.mktemp("filled")))


@pytest.fixture
async def reader(filled: Filled) -> AsyncIterator[Reader]:
    async with filled.kind.reading() as opened:
        yield opened


# ---- single rows


async def test_every_row_is_found_by_its_key(filled: Filled, reader: Reader) -> None:
    for row in filled.rows(BatchRow):
        assert await reader.batch(row.batch_id) == row
        assert [await reader.batch(row.batch_id, label) for label in (row.label, "x")] == [row, None]
    for row in filled.rows(PromptRow):
        assert await reader.prompt(row.batch_id, row.index) == row
    for row in filled.rows(ImageRow):
        assert await reader.image(row.batch_id, row.index) == row
    for row in filled.rows(SeriesRow):
        assert await reader.series(row.key) == row
    for row in filled.rows(RequestRow):
        assert await reader.request(row.label, row.request_id) == row
    assert by_id(await reader.lanes()) == by_id(filled.rows(LaneRow))


async def test_what_is_not_there_is_none(filled: Filled, reader: Reader) -> None:
    batch = filled.rows(BatchRow)[0].batch_id
    assert (await reader.batch("x"), await reader.series("x"), await reader.image_named("x/y")) == (None, None, None)
    assert (await reader.prompt(batch, 99), await reader.image(batch, 99)) == (None, None)
    assert (await reader.request("app", "x"), await reader.request("x", "r1")) == (None, None)
    assert (await reader.name_place("x"), await reader.prompt_place("x", 0, MANY)) == (None, None)
    assert (await reader.prompts("x"), await reader.series_ending("x")) == ([], [])
    assert (await reader.texts(["0" * 64]), await reader.these_images("x", (1,))) == ({}, [])


async def test_an_image_is_found_by_each_name_it_was_given(filled: Filled, reader: Reader) -> None:
    """In any case and Unicode form, also under a name that it does not have any more."""
    names = list(filled.names())
    assert len(names) > len(filled.rows(ImageRow)), "some have had two"
    for name, *place in names:
        image = filled.model.image(place[1], place[0])
        for spelled in (name, name.upper()):
            assert await reader.image_named(spelled) == image
        assert await reader.name_place(fold(name)) == tuple(place)


async def test_a_name_is_found_in_any_unicode_form(kind: Kind, ledger: Ledger) -> None:
    (accepted,) = take(ledger, submission(user="Zoë"))
    name = f"{SERIES}2".replace("areg", "Zoë")
    async with kind.reading() as reader:
        for spelled in (name, name.upper(), name.replace("ë", "e\u0308")):
            assert await reader.image_named(spelled) == await reader.image("batch-app-r1", 2)
    assert accepted.images[1].file == name.rpartition("/")[2]


async def test_rows_of_a_batch_come_in_their_order(filled: Filled, reader: Reader) -> None:
    for batch in filled.rows(BatchRow):
        batch_id = batch.batch_id
        assert await reader.prompts(batch_id) == [filled.model.prompt(n, batch_id) for n in range(1, batch.prompts + 1)]
        images = [filled.model.image(index, batch_id) for index in range(batch.images, 0, -1)]
        assert await reader.these_images(batch_id, (99, *range(batch.images, -1, -1))) == images


async def test_a_prompt_is_found_by_the_id_of_any_attempt(filled: Filled, reader: Reader) -> None:
    submitted = [(n, event) for n, event in enumerate(filled.events, 1) if isinstance(event, PromptSubmitting)]
    for position, event in submitted:
        place = (event.batch_id, event.prompt)
        assert await reader.prompt_place(event.prompt_id, 0, MANY) == place
        assert await reader.prompt_place(event.prompt_id, position - 1, position) == place
        assert await reader.prompt_place(event.prompt_id, position, MANY) is None
        assert await reader.prompt_place(event.prompt_id, 0, position - 1) is None


async def test_series_are_found_by_the_end_of_their_key(filled: Filled, reader: Reader) -> None:
    keys = [row.key for row in filled.rows(SeriesRow) if row.key]
    for end in (
        "/areg_opal-fever_image_",
        "/areg_opal-fever_video_",
        "/bob_opal-fever_image_",
        "%",
        "/areg_opal_fever_image_",
    ):
        found = sorted(row.key for row in await reader.series_ending(end))
        assert found == sorted(key for key in keys if key.endswith(end))
        for label in ("app", "other", "x"):
            used = {key for batch in filled.rows(BatchRow) if batch.label == label for key in batch.every_series}
            assert {row.key for row in await reader.series_ending(end, label)} == {key for key in found if key in used}
    assert any(key.endswith("/areg_opal-fever_image_") for key in keys)


async def test_counts_are_those_of_the_model(filled: Filled, reader: Reader) -> None:
    images, batches = filled.rows(ImageRow), filled.rows(BatchRow)
    for batch in batches:
        own = sum(row.batch_id == batch.batch_id and row.state != "done" for row in filled.rows(PromptRow))
        others = [row for row in batches if not row.settled and row.batch_id != batch.batch_id]
        assert await reader.turns(batch.batch_id) == Turns(own, len(others))
        of_label = sum(row.label == "other" for row in others)
        assert await reader.turns(batch.batch_id, "other") == Turns(own, of_label)
    ids = [batch.batch_id for batch in batches]
    for some in (ids, ids[::2], ["x"], []):
        parked = sum(row.size_bytes for row in images if row.state == "parked" and row.batch_id in some)
        assert await reader.parked_bytes(some) == parked
    assert await reader.parked_bytes(ids) > 0
    assert await reader.owing("folder") == owing(images)
    assert await reader.owing("x") == {}


def owing(images: list[ImageRow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for image in images:
        upload = image.upload("folder")
        state = upload.state if upload is not None else ""
        is_over = image.state in {"stored", "cancelled", "forgetting", "forgotten"}
        if state == "deleting" or (state in {"owed", "uploading", "parked"} and not is_over):
            counts[image.batch_id] = counts.get(image.batch_id, 0) + 1
    return counts


# ---- lists


@pytest.mark.parametrize("limit", [1, 3, MANY])
@pytest.mark.parametrize("open_only", [False, True])
@pytest.mark.parametrize(
    ("user", "label", "series"),
    [(None, None, None), ("areg", None, None), ("nobody", None, None), (None, "other", None), ("areg", "app", SERIES)],
)
async def test_batches_come_newest_first_in_pages(
    filled: Filled, reader: Reader, user: str | None, label: str | None, series: str | None, open_only: bool, limit: int
) -> None:
    fitting = [
        row
        for row in filled.rows(BatchRow)
        if user in {None, row.user_key}
        and label in {None, row.label}
        and series in {None, *row.every_series}
        and not (open_only and row.status not in {"open", "held"})
    ]
    found: list[BatchRow] = []
    wanted = BatchFilter(user, open_only, None, limit, label, series)
    while page := await reader.batches(wanted):
        assert len(page) <= limit
        found += page
        assert len(found) <= len(fitting)
        wanted = msgspec.structs.replace(wanted, before=page[-1].batch_id)
    assert found == sorted(fitting, key=lambda row: row.batch_id, reverse=True)


@pytest.mark.parametrize("limit", [1, 7, MANY])
@pytest.mark.parametrize("state", [None, "stored", "pending"])
@pytest.mark.parametrize(
    ("batch", "user", "label"),
    [
        (None, None, None),
        (BATCH, None, None),
        (None, "areg", None),
        ("x", "bob", None),
        (None, "bob", "other"),
    ],
)
async def test_images_come_newest_batch_first_in_pages(
    filled: Filled,
    reader: Reader,
    batch: str | None,
    user: str | None,
    label: str | None,
    state: str | None,
    limit: int,
) -> None:
    of_label = {row.batch_id for row in filled.rows(BatchRow) if label in {None, row.label}}
    fitting = [
        row
        for row in filled.rows(ImageRow)
        if batch in {None, row.batch_id}
        and user in {None, row.user_key}
        and state in {None, row.state}
        and row.batch_id in of_label
    ]
    fitting.sort(key=lambda row: row.index)
    fitting.sort(key=lambda row: row.batch_id, reverse=True)
    found: list[ImageRow] = []
    wanted = ImageFilter(batch, user, state, None, limit, label)
    while page := await reader.images(wanted):
        assert len(page) <= limit
        found += page
        assert len(found) <= len(fitting)
        wanted = msgspec.structs.replace(wanted, before=(page[-1].batch_id, page[-1].index))
    assert found == fitting


# ---- past events


def users_of(filled: Filled) -> dict[str, str]:
    return {row.batch_id: row.user_key for row in filled.rows(BatchRow)}


async def everything(reader: Reader) -> list[Line]:
    return await reader.page(after=0, limit=MANY)


async def test_the_log_has_every_event_and_its_end(filled: Filled, reader: Reader) -> None:
    lines = await everything(reader)
    assert [decode(line.kind, line.schema, line.data) for line in lines] == filled.events
    assert await reader.head() == Head(lines[-1].position, lines[-1].hash)
    assert await reader.seen(lines) == lines, "no label limits this reader"


@pytest.mark.parametrize("limit", [1, 50, MANY])
@pytest.mark.parametrize(("stream", "user"), [(None, None), (BATCH, None), (None, "areg"), (BATCH, "areg"), ("x", "y")])
async def test_pages_of_the_log_have_what_fits(
    filled: Filled, reader: Reader, stream: str | None, user: str | None, limit: int
) -> None:
    users = users_of(filled)
    for after, upto in ((0, None), (17, 200), (200, 17)):
        found: list[Line] = []
        while page := await reader.page(
            after=found[-1].position if found else after, limit=limit, stream=stream, user=user, upto=upto
        ):
            assert len(page) <= limit
            assert not found or page[0].position > found[-1].position
            found += page
        assert [line.position for line in found] == [
            line.position
            for line in await everything(reader)
            if after < line.position <= (upto or MANY)
            and stream in {None, line.stream}
            and user in {None, users.get(line.stream, "")}
        ]
        assert {line.user for line in found} <= {user or ""}


FILTERS: list[dict[str, Any]] = [
    {},
    {"after": 17, "upto": 200},
    {"after": MANY},
    {"stream": BATCH},
    {"stream": "lane/everything"},
    {"user": "areg"},
    {"user": "areg", "after": 17, "upto": 200},
    {"user": "areg", "stream": BATCH},
    {"user": "ann", "stream": BATCH, "kinds": frozenset({"batch_requested"})},
    {"kinds": frozenset({"batch_requested", "image_kept"})},
    {"user": "bob", "kinds": frozenset({"image_kept"})},
    {"since_ms": NOW_MS + 5_000, "until_ms": NOW_MS + 20_000},
    {"since_ms": NOW_MS + 5_001, "user": "areg"},
    {"until_ms": NOW_MS + 4_999, "stream": BATCH},
    {"until_ms": NOW_MS - 1},
    {"user": "nobody"},
    {"label": "other"},
    {"label": "app", "user": "areg", "kinds": frozenset({"batch_requested"})},
    {"label": "x"},
]


def fitting_lines(wanted: LogWanted, filled: Filled) -> Callable[[Line], bool]:
    users, labels = users_of(filled), {row.batch_id: row.label for row in filled.rows(BatchRow)}

    def fits(line: Line) -> bool:
        return (
            wanted.after < line.position <= (MANY if wanted.upto is None else wanted.upto)
            and wanted.stream in {None, line.stream}
            and wanted.user in {None, users.get(line.stream, "")}
            and wanted.label in {None, labels.get(line.stream, "")}
            and (wanted.kinds is None or line.kind in wanted.kinds)
            and (wanted.since_ms is None or line.at_ms >= wanted.since_ms)
            and (wanted.until_ms is None or line.at_ms <= wanted.until_ms)
        )

    return fits


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("filters", FILTERS)
async def test_filtered_lines_follow_each_other_without_gap_or_double(
    filled: Filled, reader: Reader, filters: dict[str, Any], reverse: bool
) -> None:
    fits = fitting_lines(LogWanted(**filters), filled)
    fitting = [line.position for line in await everything(reader) if fits(line)]
    for limit in (1, 60, MANY):
        assert await pages_of(reader, filters, reverse, limit) == (fitting[::-1] if reverse else fitting)


async def pages_of(reader: Reader, filters: dict[str, Any], reverse: bool, limit: int) -> Sequence[int]:
    wanted = LogWanted(**filters, reverse=reverse, limit=limit)
    found: list[int] = []
    while True:
        page = await reader.log_lines(wanted)
        assert len(page.lines) <= limit
        found += [line.position for line in page.lines]
        assert len(set(found)) == len(found)
        if not page.more:
            return found
        onward = {"upto": page.position - 1} if reverse else {"after": page.position}
        wanted = msgspec.structs.replace(wanted, **onward)


async def test_a_page_says_whether_there_is_more(filled: Filled, reader: Reader) -> None:
    end = len(filled.events)
    for limit in (2, 3):
        page = await reader.log_lines(LogWanted(after=end - 3, limit=limit))
        assert (page.position, page.more) == (end - 3 + limit, limit < 3)
        page = await reader.log_lines(LogWanted(upto=3, limit=limit, reverse=True))
        assert (page.position, page.more) == (4 - limit, limit < 3)


async def test_lines_of_one_series_are_those_of_its_batches(filled: Filled, reader: Reader) -> None:
    for row in (row for row in filled.rows(SeriesRow) if row.key):
        batches = {batch.batch_id for batch in filled.rows(BatchRow) if row.key in batch.every_series}
        wanted = {line.position for line in await everything(reader) if line.stream in batches}
        found = await pages_of(reader, {"series": frozenset({row.key})}, False, MANY)
        assert set(found) == wanted


# ---- beside a writer


async def test_a_reader_sees_what_is_committed_and_nothing_else(kind: Kind, ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    async with kind.reading() as reader:
        with ledger.group():
            take_one(ledger, submission("r2"))
            take_one(ledger, HoldBatch("app", "batch-app-r1"))
            assert [(row.request_id, row.status) for row in await reader.batches(BatchFilter())] == [("r1", "open")]
            assert (await reader.head()).position == len(await reader.page(after=0, limit=9)) == 2
        assert [row.status for row in await reader.batches(BatchFilter())] == ["open", "held"]
        assert await reader.head() == ledger.head


async def test_a_reader_can_be_closed_before_it_has_read(kind: Kind, ledger: Ledger) -> None:
    async with kind.reading():
        assert ledger.head == Head()


async def test_every_read_is_of_one_moment_while_a_writer_writes(kind: Kind, ledger: Ledger) -> None:
    """A group has two batches, and one of them cancels what the other asked for: no read sees half of it."""
    together(ledger, [PauseLane("app", "everything")])

    def write() -> None:
        for number in range(40):
            pair = [submission(f"{name}{number}", quantity=2) for name in "ab"]
            together(ledger, [*pair, CancelBatch("app", pair[0].batch_id)])

    async with kind.reading() as reader, kind.reading() as other:
        seen = [0]
        with beside(write) as is_writing:
            while is_writing():
                batches, lines = await asyncio.gather(reader.batches(BatchFilter(limit=MANY)), everything(other))
                assert sum(row.status == "cancelled" for row in batches) * 2 == len(batches)
                assert [line.position for line in lines] == list(range(1, len(lines) + 1))
                seen.append(len(lines))
        assert seen == sorted(seen)
        assert (await reader.head()).position == ledger.head.position
