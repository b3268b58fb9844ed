"""Lists and counts of images by every filter, compared with the model; and how much of the ledger they read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, get_args

import pytest
from msgspec.structs import replace
from ulid import ULID

from comfyledger.core.batch_ids import first_at
from comfyledger.core.commands import SubmitBatch
from comfyledger.core.decide.decide import Message
from comfyledger.core.media import Medium
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow, ImageRow, Row
from comfyledger.core.values import VerdictAsked
from comfyledger.ledger import ports
from comfyledger.ledger.ports import ImageFilter, Ledger, Reader
from comfyledger.ledger.sqlite import image_lists
from comfyledger.wire.requests.reading import CountBy
from support.core_builders import (
    cancel,
    failed,
    forget,
    one_kept,
    one_stored,
    rendering,
    reviewing,
    unwanted,
    uploading,
)
from support.ledger_builders import submission, take
from support.ledger_kinds import KINDS, Kind, Model, together

CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "batch_id": (None, None, None, None, "batch-app-r10", "x"),
    "username_key": (None, None, "areg", "ann", "nobody"),
    "state": (None, None, None, "stored", "stored", "pending", "failed", "parked", "cancelled", "kept", "forgotten"),
    "label": (None, None, "app", "other", "x"),
    "character_key": (None, None, "opal fever", "sea glass", "nobody"),
    "workflow": (None, None, None, "empty", ""),
    "code": (None, None, None, "execution_error", "collision", "cancelled", "x"),
    "verdict": (None, None, "approved", "rejected", "none"),
    "rating_min": (None, None, None, 1, 5),
    "medium": (None, None, "image", "video", "audio"),
}
MEDIA: Final[tuple[tuple[Medium, ...], ...]] = (("image",), ("image",), ("video",), ("image", "video"))


class Gallery:
    """A ledger with images of every kind, and the model of it."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.model = kind, Model()
        lots = random.Random(29)
        with kind.opened() as ledger:
            for number in range(1, 81):
                asked = self._asked(lots, number)
                self._take(ledger, [asked])
                self._take(ledger, self._reports(lots, asked))
                self._take(ledger, list(self._reviews(lots, asked.batch_id)))

    def rows(self, kind: type[Row]) -> list[Any]:
        return [row for row in self.model.rows.values() if isinstance(row, kind)]

    def _asked(self, lots: random.Random, number: int) -> SubmitBatch:
        words: dict[str, Any] = {
            "user": lots.choice(("Areg", "areg", "Ann")),
            "character": lots.choice(("Opal Fever", "Sea Glass", "SEA GLASS")),
            "label": lots.choice(("app", "other")),
            "quantity": lots.randint(1, 6),
            "media": lots.choice(MEDIA),
        }
        made = submission(f"r{number}", **words)
        return replace(made, workflow=lots.choice(("empty", "")))

    def _reports(self, lots: random.Random, asked: SubmitBatch) -> list[Message]:
        batch = asked.batch_id
        if len(asked.media) > 1:
            return [cancel(*lots.sample((1, 2), lots.randint(0, 2)), batch=batch)] if lots.random() < 0.7 else []
        found: list[Message] = []
        whole = lots.random() < 0.5
        for prompt in asked.prompts:
            fates: list[tuple[Message, ...]] = [
                *[one_stored(prompt.index, batch=batch)] * 3,
                (*one_kept(prompt.index, batch=batch), uploading(prompt.index, batch=batch)),
                (*one_stored(prompt.index, batch=batch)[:-1], unwanted(prompt.index, batch=batch)),
                (*rendering(prompt.index, batch=batch), failed(prompt.index, batch=batch, final=True)),
                (cancel(prompt.index, batch=batch),),
                (*one_stored(prompt.index, batch=batch), forget(prompt.index, batch=batch)),
                (),
            ]
            found += fates[0] if whole else lots.choice(fates)
        return found

    def _reviews(self, lots: random.Random, batch: str) -> Iterator[Message]:
        images = [row.index for row in self.rows(ImageRow) if row.batch_id == batch and row.has_file]
        for index in images:
            if lots.random() < 0.3:
                verdict: VerdictAsked | None = lots.choice((None, "approved", "rejected"))
                yield reviewing(f"{batch}/{index}", verdict=verdict, rating=lots.choice((None, 1, 5)))

    def _take(self, ledger: Ledger, messages: list[Message]) -> None:
        for message in messages:
            self.model.decided(message)
        together(ledger, messages)


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery(KINDS[request.param](tmp_path_factory.mktemp("gallery")))


@pytest.fixture
async def reader(filled: Gallery) -> AsyncIterator[Reader]:
    async with filled.kind.reading() as opened:
        yield opened


def some_filters(seed: int) -> list[ImageFilter]:
    """Each field alone with each of its values, and many together."""
    alone = [ImageFilter(**{name: value}) for name, values in CHOICES.items() for value in dict.fromkeys(values)]
    lots = random.Random(seed)
    chance = [{name: lots.choice(values) for name, values in CHOICES.items()} for _ in range(250)]
    few = [{name: one[name] for name in lots.sample(list(CHOICES), 3)} for one in chance]
    return [*alone, *(ImageFilter(**one) for one in few)]


def fitting(filled: Gallery, wanted: ImageFilter) -> list[ImageRow]:
    """What the model says, in the order of lists."""
    batches = {row.batch_id: row for row in filled.rows(BatchRow)}

    def fits(row: ImageRow) -> bool:
        batch = batches[row.batch_id]
        is_about = {
            "batch_id": row.batch_id,
            "username_key": row.user_key,
            "state": row.state,
            "label": batch.label,
            "character_key": fold(batch.character),
            "workflow": batch.workflow,
            "code": row.code,
            "verdict": row.verdict or "none",
            "medium": row.medium,
        }
        is_fine = all(getattr(wanted, name) in {None, value} for name, value in is_about.items())
        return is_fine and row.rating >= (wanted.rating_min or 0)

    found = sorted(filter(fits, filled.rows(ImageRow)), key=lambda row: row.index)
    return sorted(found, key=lambda row: row.batch_id, reverse=True)


def test_there_are_images_of_every_kind(filled: Gallery) -> None:
    """Else the tests below would say little."""
    images = filled.rows(ImageRow)
    counts = Counter(str(value) for row in images for value in (row.state, row.code, row.verdict, row.medium))
    assert all(counts[value] > 4 for name in ("state", "code") for value in CHOICES[name] if value not in {None, "x"})
    assert min(counts["approved"], counts["rejected"], counts["video"], sum(row.rating == 5 for row in images)) > 4


async def test_each_filter_finds_exactly_what_fits(filled: Gallery, reader: Reader) -> None:
    sizes = Counter[bool]()
    for wanted in some_filters(1):
        expected = fitting(filled, wanted)
        assert await reader.images(replace(wanted, limit=10_000)) == expected, wanted
        assert (await reader.count_images(wanted)).count == len(expected), wanted
        sizes[bool(expected)] += 1
    assert min(sizes[True], sizes[False]) > 40, "too few of these filters tell something"


@pytest.mark.parametrize("every", [1, 3, 7, 10_000])
async def test_a_page_begins_at_each_cursor(filled: Gallery, reader: Reader, every: int) -> None:
    for wanted in some_filters(2)[:: 1 + every % 3]:
        expected = fitting(filled, wanted)
        found = await reader.count_images(wanted, every=every)
        assert (found.count, found.every) == (len(expected), every)
        ids = [f"{row.batch_id}/{row.index}" for row in expected]
        assert found.cursors == ("", *ids[every - 1 : len(ids) - 1 : every]), wanted


async def test_the_page_after_a_cursor_is_the_page_at_its_place(filled: Gallery, reader: Reader) -> None:
    for wanted in some_filters(3)[::3]:
        expected = fitting(filled, wanted)
        cursors = (await reader.count_images(wanted, every=5)).cursors
        for place, cursor in enumerate(cursors):
            batch_id, _, index = cursor.rpartition("/")
            before = (batch_id, int(index)) if cursor else None
            page = await reader.images(replace(wanted, before=before, limit=5))
            assert page == expected[place * 5 : place * 5 + 5], wanted


VALUES: Final[dict[CountBy, Callable[[ImageRow, BatchRow], str]]] = {
    "username": lambda _, batch: batch.user_key,
    "character": lambda _, batch: fold(batch.character),
    "workflow": lambda _, batch: batch.workflow,
    "state": lambda row, _: row.state,
    "code": lambda row, _: row.code,
    "verdict": lambda row, _: row.verdict or "none",
    "medium": lambda row, _: row.medium,
}


@pytest.mark.parametrize("by", get_args(CountBy))
async def test_groups_are_counted_as_the_images_are(filled: Gallery, reader: Reader, by: CountBy) -> None:
    batches = {row.batch_id: row for row in filled.rows(BatchRow)}
    for wanted in some_filters(4)[::2]:
        expected = Counter(VALUES[by](row, batches[row.batch_id]) for row in fitting(filled, wanted))
        found = await reader.count_images(wanted, by)
        assert not found.more_groups
        groups = found.groups
        assert {fold(value): count for value, count in groups} == expected, wanted
        assert list(groups) == sorted(groups, key=lambda one: (-one[1], one[0]))


async def test_a_group_is_named_as_its_newest_batch_writes_it(kind: Kind, ledger: Ledger) -> None:
    for number, user in enumerate(("AREG", "Areg", "Bob", "aReG"), 1):
        take(ledger, submission(f"r{number}", user=user, quantity=1))
    async with kind.reading() as reader:
        assert (await reader.count_images(ImageFilter(), "username")).groups == (("aReG", 3), ("Bob", 1))


async def test_of_too_many_groups_the_largest_are_named(
    kind: Kind, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, user in enumerate(("Ann", "Bob", "Bob", "Eve"), 1):
        take(ledger, submission(f"r{number}", user=user, quantity=1))
    monkeypatch.setattr(image_lists, "GROUPS_MAX", 1)
    async with kind.reading() as reader:
        found = await reader.count_images(ImageFilter(), "username")
        assert (found.groups, found.more_groups) == ((("Bob", 2),), True)


async def test_cursors_move_apart_where_they_would_be_too_many(
    filled: Gallery, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_lists, "CURSORS_MAX", 4)
    for wanted in (ImageFilter(), ImageFilter(state="stored"), ImageFilter(state="pending")):
        ids = [f"{row.batch_id}/{row.index}" for row in fitting(filled, wanted)]
        found = await reader.count_images(wanted, every=2)
        assert found.every == 2 * -(-len(ids) // 8) > 2
        assert found.cursors == ("", *ids[found.every - 1 : len(ids) - 1 : found.every])
        assert len(found.cursors) <= 4


async def test_times_bound_the_batches_by_when_they_were_asked_for(kind: Kind, ledger: Ledger) -> None:
    times = [1_700_000_000_000, 1_700_000_000_001, 1_700_000_001_000]
    for number, at_ms in enumerate(times, 1):
        batch_id = str(ULID.from_bytes(at_ms.to_bytes(6, "big") + bytes([255 * (number % 2)] * 10)))
        take(ledger, replace(submission(f"r{number}", quantity=1), batch_id=batch_id))
    async with kind.reading() as reader:
        for since_ms in (None, *times, times[0] - 1, times[-1] + 1):
            for until_ms in (None, *times, times[0] - 1, times[-1] + 1, 2**60):
                wanted = ImageFilter(since_ms=since_ms, until_ms=until_ms)
                first, last = since_ms or 0, until_ms if until_ms is not None else 2**60
                expected = sum(first <= at_ms <= last for at_ms in times)
                assert len(await reader.images(wanted)) == expected
                assert (await reader.count_images(wanted)).count == expected


def test_the_first_id_at_a_time_is_that_of_the_ulid() -> None:
    for at_ms in (0, 1, 31, 32, 1_795_377_407_458, 2**48 - 1):
        assert first_at(at_ms) == str(ULID.from_bytes(at_ms.to_bytes(6, "big") + bytes(10)))[:10]
    assert first_at(-1) == first_at(0)
    assert first_at(2**60) > first_at(2**48 - 1)
    assert ports.GROUPS_MAX >= 500
