"""Writing through the protocol `Ledger`: groups, messages, numbers, names, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from comfyledger.core.commands import HoldBatch, PauseLane
from comfyledger.core.decide.decide import Message, decide, needs
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import (
    NUMBERING,
    BackendAdded,
    BackendRemoved,
    BatchReopened,
    BatchRequested,
    BlobErased,
    ImageForgotten,
)
from comfyledger.core.keys import BatchImages, BatchKey, BatchPrompts, BatchTexts, OneKey, RequestKey, SeriesKey
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import Row, SeriesRow, TextRow
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import Outcome, decide_group
from comfyledger.ledger.eventlog import GENESIS, Head, Line, chained, decode
from comfyledger.ledger.log_reader import LogReader
from comfyledger.ledger.ports import Ledger, LedgerLocked, RowRefused, StorageFull, noted
from support.ledger_builders import NOW_MS, submission, take, take_one
from support.ledger_kinds import TERMS, Kind, Model, answers, apart, by_id, key_of, together
from support.ledger_load import Load

SERIES = submission().series[0]
SEEDS = (33, 40)


def lines_of(log: LogReader) -> list[Line]:
    return log.page(after=0, limit=1_000_000)


def written(kind: Kind) -> list[Line]:
    with kind.log() as log:
        return lines_of(log)


def check_equal(ledger: Ledger, model: Model) -> None:
    """Every row that the model has is there, by its key and with its batch, and what is open is the same."""
    for ident, row in model.rows.items():
        assert ledger.load_one(key_of(ident)) == row
    for kind, batch_id, _ in model.rows:
        if kind == "batch":
            for key in (BatchPrompts(batch_id), BatchImages(batch_id)):
                assert by_id(ledger.load_many(key)) == by_id(model._many(key))
            assert about(ledger.load_many(BatchTexts(batch_id))) == about(model.texts(batch_id))
    assert by_id(ledger.open_rows()) == by_id(model.open_rows())
    assert ledger.head.position == len(model.log)


def about(texts: Iterable[Row]) -> set[tuple[object, ...]]:
    """What each text is about, in no order."""
    rows = [row for row in texts if isinstance(row, TextRow)]
    return {(row.digest, frozenset(row.images), frozenset(row.prompts), row.whole, row.elsewhere) for row in rows}


@pytest.mark.parametrize("how", [together, apart])
@pytest.mark.parametrize("seed", SEEDS)
def test_any_groups_leave_what_the_model_has(
    kind: Kind, seed: int, how: Callable[[Ledger, list[Message]], list[Outcome]]
) -> None:
    """Message n sees what message n-1 left: the model takes them one by one."""
    model, size = Model(), random.Random(seed)
    load = Load(model, seed)
    for _ in range(4):
        with kind.opened() as ledger:
            check_equal(ledger, model)
            for _ in range(30):
                messages: list[Message] = []
                wanted: list[Outcome] = []
                for _ in range(size.choice([1, 2, 10, 40])):
                    messages.append(load.next())
                    wanted.append(model.decided(messages[-1]))
                assert answers(how(ledger, messages)) == answers(wanted)
            check_equal(ledger, model)
    events = [decode(line.kind, line.schema, line.data) for line in written(kind)]
    assert events == [entry.event for entry in model.log]
    assert len(events) > 300


def test_the_outcome_of_a_message_has_the_rows_it_changed(ledger: Ledger) -> None:
    messages: list[Message] = [submission("r1"), submission("r2"), submission("r1"), HoldBatch("app", "batch-app-r1")]
    model = Model()
    wanted = [model.decided(message) for message in messages]
    outcomes, lines = decide_group(ledger, messages, TERMS)
    assert [by_id(outcome.rows) for outcome in outcomes] == [by_id(outcome.rows) for outcome in wanted]
    assert len(lines) == len(model.log)


@pytest.mark.parametrize("how", [together, apart])
def test_three_submits_of_one_group_get_nine_different_numbers(
    ledger: Ledger, how: Callable[[Ledger, list[Message]], list[Outcome]]
) -> None:
    outcomes = how(ledger, [submission(f"r{number}") for number in range(3)])
    numbers = [image.number for outcome in outcomes for image in outcome.answer.images]  # type: ignore[union-attr]
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_numbers_go_on_and_names_stay_unique_over_openings(kind: Kind) -> None:
    """Also where a group was dropped, a message refused, and a user is spelled in another way."""
    for number in range(4):
        with kind.opened() as ledger:
            together(ledger, [submission(f"r{number}"), submission(f"x{number}", user="AREG")])
            with pytest.raises(ZeroDivisionError):
                take_group_and_break(ledger, submission(f"dropped{number}"))
            together(ledger, [submission("r0", body="of another batch")])
    asked = [decode(line.kind, line.schema, line.data) for line in written(kind)]
    images = [image for event in asked if isinstance(event, BatchRequested) for image in event.images]
    assert [image.number for image in images] == list(range(1, 25))
    assert len({fold(image.public_id) for image in images}) == 24


def test_a_repeated_request_gets_its_first_answer_after_an_opening(kind: Kind) -> None:
    with kind.opened() as ledger:
        (first,) = take(ledger, submission("r1"))
    with kind.opened() as ledger:
        head = ledger.head
        (again,) = take(ledger, submission("r1"))
        assert (again.repeated, again.images) == (True, first.images)
        assert ledger.head == head
        with pytest.raises(Refused, match="used before"):
            take(ledger, submission("r1", body="another"))
        (other,) = take(ledger, submission("r1", label="another app"))
    assert [image.number for image in other.images] == [4, 5, 6]


# ---- what is undone


def test_a_message_that_raises_is_undone_alone(kind: Kind, ledger: Ledger) -> None:
    with ledger.group() as lines:
        take_one(ledger, submission("r1"))
        head = ledger.head
        with pytest.raises(ZeroDivisionError):
            take_and_break(ledger, submission("r2"))
        assert ledger.head == head
        assert ledger.load_one(BatchKey("batch-app-r2")) is None
        answer = take_one(ledger, submission("r3"))
    assert [image.number for image in answer.images] == [4, 5, 6]
    assert [line.stream for line in lines if line.kind == "batch_requested"] == ["batch-app-r1", "batch-app-r3"]
    assert [(line.position, line.hash) for line in lines] == [(line.position, line.hash) for line in written(kind)]


def take_and_break(ledger: Ledger, message: Message) -> None:
    with ledger.message():
        take_one(ledger, message)
        raise ZeroDivisionError


def take_group_and_break(ledger: Ledger, message: Message) -> None:
    with ledger.group():
        take_one(ledger, message)
        raise ZeroDivisionError


def test_lines_of_a_message_that_raises_are_dropped(kind: Kind, ledger: Ledger) -> None:
    with ledger.group() as lines:
        take_one(ledger, PauseLane("app", "store/a"))
        head, before = ledger.head, list(lines)
        with pytest.raises(ZeroDivisionError):
            follow_and_break(ledger, PauseLane("app", "store/b"))
        assert (ledger.head, lines) == (head, before)
    assert [line.stream for line in written(kind)] == ["lane/store/a"]


def follow_and_break(ledger: Ledger, message: Message) -> None:
    state = ledger.load(needs(message))
    decision = decide(state, message, NOW_MS, ledger.head.position, Policy())
    with ledger.following():
        (line,) = ledger.follow(decision.recorded, state)
        assert (line.position, line.hash) == (ledger.head.position, ledger.head.hash)
        raise ZeroDivisionError


def test_a_group_that_raises_leaves_nothing(kind: Kind, ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, written(kind)
    with pytest.raises(ZeroDivisionError):
        take_group_and_break(ledger, submission("r2", prompt="typed"))
    assert (ledger.head, written(kind)) == (head, before)
    assert ledger.load_one(RequestKey("app", "r2")) is None
    assert ledger.load_one(SeriesKey(SERIES.key)) == SeriesRow(SERIES.key, SERIES.folder, 4)


def test_a_group_without_events_leaves_the_head_and_the_log(kind: Kind, ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, written(kind)
    with ledger.group() as lines:
        ledger.put((), (), (SeriesRow(SERIES.key, SERIES.folder, 99),), ())
    assert (lines, ledger.head, written(kind)) == ([], head, before)
    assert ledger.load_one(SeriesKey(SERIES.key)) == SeriesRow(SERIES.key, SERIES.folder, 4), "rows need an event"


# ---- what is refused


def put_wrong(ledger: Ledger, *rows: Row) -> None:
    """Rows that no event makes, together with an event."""
    message = PauseLane("app", "store/folder")
    state = ledger.load(needs(message))
    decision = decide(state, message, NOW_MS, ledger.head.position, Policy())
    lines = ledger.follow(decision.recorded, state)
    ledger.put(lines, noted(decision.recorded, state), (*state.changed.values(), *rows), ())


def test_a_name_that_was_given_is_refused_to_its_message_alone(kind: Kind, ledger: Ledger) -> None:
    """The counter of a series was set back; the names that were given are the second lock."""
    take(ledger, submission("r1"))
    with ledger.group():
        put_wrong(ledger, SeriesRow(SERIES.key, SERIES.folder, next=2))
    messages = [submission("a", user="Ann"), submission("r2"), submission("b", user="Bob")]
    outcomes, lines = decide_group(ledger, messages, TERMS)
    codes = [outcome.error.code if isinstance(outcome.error, Refused) else "" for outcome in outcomes]
    assert codes == ["", "name_taken", ""]
    asked = [line.stream for line in lines if line.kind == "batch_requested"]
    assert asked == ["batch-app-a", "batch-app-b"]
    assert [line.stream for line in written(kind) if line.kind == "batch_requested"] == ["batch-app-r1", *asked]


def test_a_row_that_the_tables_refuse_undoes_the_group(kind: Kind, ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, written(kind)
    request = ledger.load_one(RequestKey("app", "r1"))
    assert request is not None
    with pytest.raises(RowRefused), ledger.group():
        put_wrong(ledger, request)
    assert (ledger.head, written(kind)) == (head, before)
    assert [image.number for image in take(ledger, submission("r2"))[0].images] == [4, 5, 6]


def test_what_ends_a_group_and_what_does_not(ledger: Ledger) -> None:
    with ledger.group():
        assert not ledger.ends_group(KeyError())
        assert not ledger.ends_group(Refused("name_taken"))
    assert ledger.ends_group(KeyError()), "there is no group"


def test_a_full_disk_drops_the_whole_group_and_nothing_else(kind: Kind, ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, written(kind)
    with kind.full(ledger), pytest.raises(StorageFull):
        together(ledger, [submission(f"r{n}", prompt="x" * 5_000, salt=bytes([n])) for n in range(2, 60)])
    assert (ledger.head, written(kind)) == (head, before)
    assert [image.number for image in take(ledger, submission("r2"))[0].images] == [4, 5, 6]


def test_a_lock_refuses_the_group_and_nothing_is_written(kind: Kind, ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    head, before = ledger.head, written(kind)
    ledger.check_lock()
    with kind.locked(ledger):
        with pytest.raises(LedgerLocked):
            together(ledger, [submission("r2")])
        with pytest.raises(LedgerLocked):
            ledger.check_lock()
        assert ledger.lock_holder().startswith("another program")
    ledger.check_lock()
    assert (ledger.head, written(kind)) == (head, before)
    assert [image.number for image in take(ledger, submission("r2"))[0].images] == [4, 5, 6]


# ---- what stays


def test_a_new_ledger_is_empty_and_its_ids_stay(kind: Kind) -> None:
    seen = []
    for _ in range(2):
        with kind.opened() as ledger:
            assert (ledger.head, ledger.open_rows()) == (Head(), [])
            assert (len(ledger.ledger_id) > 0, len(ledger.epoch) > 0, len(ledger.secret)) == (True, True, 32)
            seen.append((ledger.ledger_id, ledger.epoch, ledger.secret))
    assert seen[0] == seen[1]


def test_what_is_not_there_is_absent(ledger: Ledger) -> None:
    take(ledger, submission("r1"))
    absent: list[OneKey] = [BatchKey("batch-app-r9"), SeriesKey("x"), RequestKey("app", "r9"), RequestKey("r1", "app")]
    assert [ledger.load_one(key) for key in absent] == [None] * 4
    assert [list(ledger.load_many(key("batch-app-r9"))) for key in (BatchPrompts, BatchImages, BatchTexts)] == [[]] * 3
    assert ledger.load((BatchKey("batch-app-r9"), BatchImages("batch-app-r9")))._rows == {}


def test_lines_of_groups_are_one_chain_and_say_whose_they_are(kind: Kind) -> None:
    groups: list[list[Line]] = []
    for number in range(3):
        with kind.opened() as ledger:
            assert ledger.head == (Head(groups[-1][-1].position, groups[-1][-1].hash) if groups else Head())
            messages = [submission(f"r{number}"), submission(f"a{number}", user="Ann")]
            groups.append(decide_group(ledger, [*messages, PauseLane("app", f"user/{number}")], TERMS)[1])
            groups.append(decide_group(ledger, [HoldBatch("app", f"batch-app-a{number}")], TERMS)[1])
    lines = [line for group in groups for line in group]
    assert [line.position for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0].hash == chained(GENESIS, lines[0])
    assert all(line.hash == chained(before.hash, line) for before, line in pairwise(lines))
    users = {line.stream: line.user for line in lines if line.kind == "batch_held"}
    assert users == {f"batch-app-a{number}": "ann" for number in range(3)}
    assert {line.user for line in lines if line.kind == "lane_paused"} == {""}
    assert {line.at_ms for line in lines} == {NOW_MS}


def test_the_random_messages_number_retry_and_erase() -> None:
    """Else the comparison with the model would say less than it seems to."""
    kinds = set()
    for seed in SEEDS:
        model = Model()
        load = Load(model, seed)
        for _ in range(1_500):
            model.decided(load.next())
        kinds |= {type(entry.event) for entry in model.log}
    expected = {BatchRequested, *NUMBERING, BatchReopened, ImageForgotten, BlobErased, BackendAdded, BackendRemoved}
    assert expected <= kinds
