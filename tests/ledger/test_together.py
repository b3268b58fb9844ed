"""Taken together, a group leaves behind what its messages leave one by one, and says the same."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger.core.commands import Forget
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.keys import RequestKey, SeriesKey
from comfyledger.core.results import Accepted
from comfyledger.core.rows import SeriesRow
from comfyledger.core.values import blob_of
from comfyledger.errors import Refused
from comfyledger.ledger import commit_group
from comfyledger.ledger.commit_group import Outcome, Terms, decide_group
from comfyledger.ledger.sqlite import projections
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.compare import TABLES
from support.ledger_builders import NOW_MS, check_tables, raw, submission
from support.ledger_load import Load

TERMS = Terms(NOW_MS, Policy(), None)
THREE = (submission("a", user="Ann"), submission("r2"), submission("b", user="Ann"))


def said(outcomes: Iterable[Outcome]) -> list[Any]:
    return [(outcome.answer, outcome.rows, repr(outcome.error)) for outcome in outcomes]


def contents(path: Path) -> dict[str, list[Any]]:
    connection = raw(path)
    found = {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("events", "blobs", *TABLES)
    }
    connection.close()
    return found


@pytest.mark.parametrize("seed", range(6))
def test_together_and_apart_are_the_same(tmp_path: Path, seed: int) -> None:
    """Each message is chosen on what the one before it left: many groups have a prompt's or a batch's whole life."""
    together, apart = Ledger.open(tmp_path / "together.db"), Ledger.open(tmp_path / "apart.db")
    load, size = Load(apart, seed), random.Random(seed)
    for _ in range(110):
        messages: list[Message] = []
        outcomes: list[Outcome] = []
        with apart.group() as lines:
            for _ in range(size.choice([1, 2, 10, 60])):
                messages.append(load.next())
                outcomes.append(commit_group._decide_one(apart, messages[-1], TERMS))
        ours, our_lines = commit_group._decide_together(together, messages, TERMS)
        assert said(ours) == said(outcomes)
        assert our_lines == lines
    together.close()
    apart.close()
    assert contents(tmp_path / "together.db") == contents(tmp_path / "apart.db")
    assert len(check_tables(tmp_path / "together.db")) > 250


def test_what_a_table_refuses_costs_its_own_message_and_no_other(ledger: Ledger, path: Path) -> None:
    """A counter that was set back gives a name again; SQLite says so only when the group is written."""
    decide_group(ledger, [submission("r1")], TERMS)
    series = submission().series[0]
    projections.save(ledger._connection, [SeriesRow(series.key, series.folder, next=2)])
    outcomes, lines = decide_group(ledger, [*THREE], TERMS)
    assert [type(outcome.answer or outcome.error) for outcome in outcomes] == [Accepted, Refused, Accepted]
    assert [image.number for outcome in outcomes[::2] for image in outcome.answer.images] == [1, 2, 3, 4, 5, 6]  # type: ignore[union-attr]
    assert [line.stream for line in lines if line.kind == "batch_requested"] == ["batch-app-a", "batch-app-b"]
    assert ledger.head.position == lines[-1].position


@pytest.mark.parametrize("step", ["needs", "decide", "texts_named"])
def test_a_message_that_raises_at_any_step_leaves_nothing_behind(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def breaking(*given: Any) -> Any:
        if any(getattr(one, "request_id", "") == "r2" for one in given):
            raise ZeroDivisionError
        return real(*given)

    real = getattr(commit_group, step)
    monkeypatch.setattr(commit_group, step, breaking)
    outcomes, lines = decide_group(ledger, [*THREE], TERMS)
    assert [type(outcome.answer or outcome.error) for outcome in outcomes] == [Accepted, ZeroDivisionError, Accepted]
    assert [line.position for line in lines] == list(range(1, len(lines) + 1))
    assert len(check_tables(path)) == len(lines) == 3


def test_room_that_a_first_try_took_is_there_for_the_second(ledger: Ledger) -> None:
    decide_group(ledger, [submission("r1")], TERMS)
    series = submission().series[0]
    projections.save(ledger._connection, [SeriesRow(series.key, series.folder, next=2)])
    terms = Terms(NOW_MS, Policy(), None, room={"app": 6})
    outcomes, _ = decide_group(ledger, [*THREE], terms)
    assert [getattr(outcome.error, "code", "") for outcome in outcomes] == ["", "name_taken", "too_many_open"]


def test_a_group_of_submits_reads_and_writes_a_series_once(ledger: Ledger) -> None:
    decide_group(ledger, [submission("r0")], TERMS)
    statements: list[str] = []
    ledger._connection.set_trace_callback(statements.append)
    decide_group(ledger, [submission(f"r{number}") for number in range(1, 41)], TERMS)
    ledger._connection.set_trace_callback(None)
    about_series = [sql for sql in statements if " series " in sql]
    assert len(about_series) <= 3, "what a series begins with, the series, and what it is afterwards"
    assert len([sql for sql in statements if sql.startswith("SELECT row FROM requests")]) == 1
    assert not [sql for sql in statements if "SAVEPOINT" in sql]


@pytest.mark.parametrize("count", [1, projections.THESE_MAX, 2 * projections.THESE_MAX + 3])
def test_rows_that_are_looked_for_together_are_those_found_one_by_one(ledger: Ledger, count: int) -> None:
    """Those that are there and those that are not, of several labels."""
    submits = [submission(f"r{n}", user=f"User {n % 9}", label="app" if n % 3 else "other") for n in range(count)]
    decide_group(ledger, [*submits[::2]], TERMS)
    keys = [
        key
        for one in submits
        for key in (RequestKey(one.label, one.request_id), *(SeriesKey(x.key) for x in one.series))
    ]
    assert ledger.load_these(keys) == {key.row_id: ledger.load_one(key) for key in keys}


def test_a_repeat_in_a_group_of_many_is_answered_as_the_first(ledger: Ledger) -> None:
    first, *others = (submission(f"r{n}") for n in range(8))
    decide_group(ledger, [first], TERMS)
    outcomes, _ = decide_group(ledger, [*others, first, others[0]], TERMS)
    repeated = [outcome.answer.repeated for outcome in outcomes]  # type: ignore[union-attr]
    assert repeated == [False] * 7 + [True] * 2


def test_an_error_that_is_no_messages_own_ends_the_group(ledger: Ledger, path: Path) -> None:
    decide_group(ledger, [submission("r0")], TERMS)
    ledger._connection.execute("DROP TABLE names_given")
    with pytest.raises(sqlite3.OperationalError):
        decide_group(ledger, [submission("r1")], TERMS)
    assert ledger.head.position == 2


def test_two_batches_of_one_group_share_a_graph_that_is_new(ledger: Ledger, path: Path) -> None:
    """Salted anew with each request, it is kept under the digest of the first."""
    first, second = submission("r1", salt=b"one"), submission("r2", salt=b"two")
    decide_group(ledger, [first, second], TERMS)
    found = raw(path).execute("SELECT data ->> '$.template' FROM events WHERE kind = 'batch_requested'").fetchall()
    assert found == [(first.template.digest,)] * 2
    assert raw(path).execute("SELECT digest FROM blobs").fetchall() == [(first.template.digest,)]


def test_a_graph_erased_in_the_group_is_stored_again_for_the_next_batch(ledger: Ledger, path: Path) -> None:
    """The only batch that used it is forgotten; what is asked for then must not name what is gone."""
    first, second = submission("r1", salt=b"one"), submission("r2", salt=b"two")
    decide_group(ledger, [first, Forget("app", first.batch_id, ()), second], TERMS)
    (named,) = raw(path).execute("SELECT row ->> '$.template' FROM batches WHERE batch_id = ?", (second.batch_id,))
    assert named == (second.template.digest,)
    held = raw(path).execute("SELECT digest FROM blobs WHERE substr(digest, 1, 7) <> 'erased:'").fetchall()
    assert held == [(second.template.digest,)]


def test_no_text_is_written_that_no_event_names(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is there already is named as it is there, also where a group is decided message by message."""
    again, taken, _ = THREE
    graph = blob_of(again.template.content, b"another salt 123", again.template.key)
    decide_group(ledger, [submission("r1")], TERMS)
    series = submission().series[0]
    projections.save(ledger._connection, [SeriesRow(series.key, series.folder, next=2)])
    put, written = type(ledger).put, list[str]()

    def noting(one: Ledger, lines: Any, noted: Any, rows: Any, texts: Any) -> None:
        kept = list(texts)
        written.extend(text.digest for text in kept)
        put(one, lines, noted, rows, kept)

    monkeypatch.setattr(type(ledger), "put", noting)
    outcomes, _ = decide_group(ledger, [taken, msgspec.structs.replace(again, template=graph)], TERMS)
    assert [type(outcome.answer or outcome.error) for outcome in outcomes] == [Refused, Accepted]
    assert graph.digest not in written
