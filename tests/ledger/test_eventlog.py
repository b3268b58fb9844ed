"""The log: a chain in which every changed byte is found and located, events that read back as they were, and pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyledger.core import upcasts
from comfyledger.core.commands import CancelBatch, HoldBatch, PauseLane, ReleaseBatch
from comfyledger.core.events import BatchHeld, Event
from comfyledger.core.reports import SubmitIntended
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger import eventlog
from comfyledger.ledger.eventlog import decode, encode
from comfyledger.ledger.sqlite.log_table import read_page
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import first_broken, log_of, raw, submission, take, take_one

MESSAGES = (
    submission("r1"),
    submission("r2", user="Ann", quantity=1),
    HoldBatch("app", "batch-app-r1"),
    PauseLane("app", "store/folder"),
    ReleaseBatch("app", "batch-app-r1"),
    SubmitIntended("batch-app-r2", 1, 1, "main"),
    CancelBatch("app", "batch-app-r1", (2,)),
)


@pytest.fixture
def written(path: Path) -> Path:
    """A ledger with a short history, closed."""
    ledger = Ledger.open(path)
    take(ledger, *MESSAGES[:3])
    take(ledger, *MESSAGES[3:])
    ledger.close()
    return path


def test_the_chain_holds_over_groups_and_reopenings(written: Path) -> None:
    ledger = Ledger.open(written)
    take(ledger, submission("r3"))
    ledger.close()
    lines = log_of(written)
    assert len(lines) == 10
    assert first_broken(lines) is None
    assert (ledger.head.position, ledger.head.hash) == (10, lines[-1].hash)


@pytest.mark.parametrize(
    "change",
    [
        "stream = stream || 'x'",
        "kind = 'batch_resumed'",
        "schema = schema + 1",
        "at = at + 1",
        "data = replace(data, 'batch-app-r1', 'batch-app-r0')",
        "data = ' ' || data",
        "hash = x'00'",
        "stream = stream || substr(kind, 1, 1), kind = substr(kind, 2)",
        "position = 99",
    ],
)
def test_a_changed_column_is_found_at_its_place(written: Path, change: str) -> None:
    lines = log_of(written)
    place = next(line.position for line in lines if line.kind == "batch_held")
    tamper(written, f"UPDATE events SET {change} WHERE position = {place}")
    assert first_broken(log_of(written)) == place


def test_a_missing_or_doubled_line_is_found_at_its_place(written: Path) -> None:
    tamper(written, "DELETE FROM events WHERE position = 5")
    assert first_broken(log_of(written)) == 5
    copy = "SELECT 5, stream, kind, schema, at, data, hash FROM events WHERE position = 4"
    tamper(written, f"INSERT INTO events (position, stream, kind, schema, at, data, hash) {copy}")
    assert first_broken(log_of(written)) == 5


def tamper(path: Path, statement: str) -> None:
    stranger = raw(path)
    stranger.execute("DROP TRIGGER IF EXISTS events_are_never_changed")
    stranger.execute("DROP TRIGGER IF EXISTS events_are_never_deleted")
    stranger.execute(statement)
    stranger.close()


def test_events_read_back_equal_after_a_reopening(path: Path) -> None:
    ledger = Ledger.open(path)
    written: list[tuple[int, Event]] = []
    original = ledger.write

    def spy(recorded, state, texts):  # type: ignore[no-untyped-def]
        written.extend((entry.position, entry.event) for entry in recorded)
        original(recorded, state, texts)

    ledger.write = spy  # type: ignore[method-assign]
    take(ledger, *MESSAGES)
    ledger.close()
    Ledger.open(path).close()
    assert [(line.position, decode(line.kind, line.schema, line.data)) for line in log_of(path)] == written
    assert len({type(event) for _, event in written}) == 7


def test_an_event_unknown_to_this_version_is_refused_with_a_message() -> None:
    with pytest.raises(LedgerUnusable, match=r"does not know \(image_painted, schema 1\).*Install the version"):
        decode("image_painted", 1, "{}")
    with pytest.raises(LedgerUnusable, match=r"does not know \(batch_held, schema 2\)"):
        decode("batch_held", 2, '{"batch_id":"b","reason":"person"}')


def test_an_event_of_an_old_schema_is_read_in_its_present_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made up: in version 1 the reason was called `why`, in version 2 it was `because`."""
    renamings = (("why", "because"), ("because", "reason"))
    steps = tuple(lambda fields, old=old, new=new: {**fields, new: fields.pop(old)} for old, new in renamings)
    monkeypatch.setitem(upcasts.UPCASTERS, "batch_held", steps)
    monkeypatch.setattr(eventlog, "_current", {("batch_held", 3): eventlog._current["batch_held", 1]})
    held = BatchHeld("b", "person")
    assert decode("batch_held", 1, '{"batch_id":"b","why":"person"}') == held
    assert decode("batch_held", 2, '{"batch_id":"b","because":"person"}') == held
    assert decode("batch_held", 3, '{"batch_id":"b","reason":"person"}') == held
    with pytest.raises(LedgerUnusable, match=r"does not know \(batch_held, schema 4\)"):
        decode("batch_held", 4, '{"batch_id":"b","reason":"person"}')
    with pytest.raises(LedgerUnusable, match=r"does not know \(batch_resumed, schema 2\)"):
        decode("batch_resumed", 2, '{"batch_id":"b"}')


def test_a_batch_of_the_first_schema_has_one_output_of_pictures(path: Path) -> None:
    ledger = Ledger.open(path)
    take(ledger, *MESSAGES[:1])
    ledger.close()
    line = next(line for line in log_of(path) if line.kind == "batch_requested")
    fields = json.loads(line.data)
    (output,) = fields.pop("outputs")
    assert output == {"node": fields["plan"]["output"], "medium": "image", "series": fields["series"]}
    assert decode("batch_requested", 1, json.dumps(fields)) == decode("batch_requested", 2, line.data)


def test_a_new_event_has_the_present_schema_of_its_kind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(upcasts.UPCASTERS, "batch_held", (dict, dict))
    ledger = Ledger.open(path)
    take(ledger, *MESSAGES[:3])
    ledger.close()
    assert {line.kind: line.schema for line in log_of(path)}["batch_held"] == 3
    assert {line.schema for line in log_of(path) if line.kind == "series_opened"} == {1}


def test_every_kind_of_event_has_its_decoder() -> None:
    assert {kind for kind, _ in eventlog._current} == set(eventlog.KINDS)
    for kind, event_type in eventlog.KINDS.items():
        with pytest.raises(Exception, match="missing required field"):
            decode(kind, upcasts.schema_of(kind), "{}")
        assert eventlog.KIND_OF[event_type] == kind


def test_lines_of_a_user_say_whose_they_are_as_the_writers_lines_do(path: Path) -> None:
    """A cursor that catches up from the log filters by it, exactly as one that reads the writer's lines."""
    ledger = Ledger.open(path)
    with ledger.group() as lines:
        take_one(ledger, submission())
        take_one(ledger, submission("r2", user="ANN"))
    ledger.close()
    assert [line.user for line in lines] == ["", "areg", "", "ann"]
    stranger = raw(path)
    pages = [line for user in ("areg", "ann") for line in read_page(stranger, after=0, limit=9, user=user)]
    stranger.close()
    assert pages == [lines[1], lines[3]]


def test_encoding_leaves_defaults_out_and_is_what_the_chain_covers(written: Path) -> None:
    for line in log_of(written):
        event = decode(line.kind, line.schema, line.data)
        assert encode(event) == line.data
        assert eventlog.stream_of(event) == line.stream
