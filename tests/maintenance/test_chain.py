"""Whatever is done to the log is found, and the first wrong position is named."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from unittest.mock import patch

import pytest

from comfyledger.ledger.eventlog import Head, chained
from comfyledger.ledger.sqlite import mark
from comfyledger.ledger.sqlite.log_table import LogTable
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit import parallel
from comfyledger.maintenance.audit.chain import check_chain, fixed_head, is_at, links_hold
from comfyledger.maintenance.audit.findings import Finding, Tally, silent
from comfyledger.maintenance.open_read_only import open_read_only
from support.ledger_builders import log_of, raw, submission
from support.ledger_on_disk import Place, render, take_group


def found_in(place: Place) -> list[Finding]:
    """What is found from end to end; link by link in parts the answer is the same, without a name."""
    tally, chain = Tally(), Tally()
    with open_read_only(place.path) as live:
        log = LogTable(live)
        head = fixed_head(log, tally)
        check_chain(log, head, chain, silent)
        with patch.object(parallel, "EVENTS_A_SEGMENT", 5):
            parts = list(parallel.segments(head.position))
        assert (all(links_hold(log, *part) for part in parts) and is_at(log, head)) == (not chain)
    tally.take(chain.kinds)
    return [finding for kind in tally.kinds for finding in kind.examples]


def test_a_chain_that_nobody_touched_holds(place: Place) -> None:
    assert found_in(place) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stream = 'batch-app-r2'", "`stream`"),
        ("kind = 'prompt_accepted'", "`kind`"),
        ("schema = 7", "`schema`"),
        ("at = at + 1", "`at` or `data`"),
        ("data = replace(data, '1', '2')", "`at` or `data`"),
        ("data = cast(x'7bff7d' AS TEXT)", "`at` or `data`"),
        ("hash = zeroblob(32)", "its hash"),
    ],
)
@pytest.mark.parametrize("position", [1, 7])
def test_a_changed_column_is_found_where_it_is(place: Place, change: str, said: str, position: int) -> None:
    if position == 1:
        change = change.replace("batch-app-r2", "lane/x")
    place.tamper(f"UPDATE events SET {change} WHERE position = {position}")
    (finding,) = found_in(place)
    assert (finding.kind, finding.where) == ("chain_changed", f"position {position}")
    assert said in finding.sentence


def test_any_byte_of_the_events_that_is_changed_is_found(place: Place) -> None:
    chance = random.Random(1)
    connection = raw(place.path)
    lines = connection.execute("SELECT position, stream, kind, data, hash FROM events").fetchall()
    connection.close()
    for _ in range(25):
        position, *columns = chance.choice(lines)
        name, value = chance.choice(list(zip(("stream", "kind", "data", "hash"), columns, strict=True)))
        byte = bytearray(value if isinstance(value, bytes) else value.encode())
        byte[chance.randrange(len(byte))] ^= 1 << chance.randrange(8)
        wrong, kind = bytes(byte).hex(), "BLOB" if name == "hash" else "TEXT"
        was = bytes(value if isinstance(value, bytes) else value.encode()).hex()
        place.tamper(f"UPDATE events SET {name} = cast(x'{wrong}' AS {kind}) WHERE position = {position}")
        assert [finding.where for finding in found_in(place)] == [f"position {position}"], name
        place.tamper(f"UPDATE events SET {name} = cast(x'{was}' AS {kind}) WHERE position = {position}")
    assert found_in(place) == []


def test_an_event_that_was_taken_out_is_missing(place: Place) -> None:
    place.tamper("DELETE FROM events WHERE position IN (5, 6)")
    (finding,) = found_in(place)
    assert (finding.kind, finding.where) == ("chain_missing", "position 5")
    assert finding.sentence == "2 events are missing before position 7."


def test_a_gap_is_found_even_if_all_hashes_were_made_anew(place: Place) -> None:
    head = Head()
    made = []
    for line in log_of(place.path):
        if line.position != 5:
            head = Head(line.position, chained(head.hash, line))
            made.append(f"UPDATE events SET hash = x'{head.hash.hex()}' WHERE position = {line.position}")
    place.tamper("DELETE FROM events WHERE position = 5", *made)
    assert [(one.kind, one.where) for one in found_in(place)] == [("chain_missing", "position 5")]


def test_events_that_changed_places_are_found_at_the_first(place: Place) -> None:
    place.tamper(
        "UPDATE events SET position = -5 WHERE position = 5",
        "UPDATE events SET position = 5 WHERE position = 6",
        "UPDATE events SET position = 6 WHERE position = -5",
    )
    assert [finding.where for finding in found_in(place)] == ["position 5"]


def test_an_event_before_the_first_is_found(place: Place) -> None:
    place.tamper("INSERT INTO events SELECT 0, stream, kind, schema, at, data, hash FROM events WHERE position = 1")
    (finding,) = found_in(place)
    assert (finding.kind, finding.where) == ("chain_doubled", "position 0")


def test_an_event_that_was_put_in_at_the_end_is_found(place: Place) -> None:
    place.tamper(
        "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), stream, kind, schema, at, data, hash"
        " FROM events WHERE position = 3"
    )
    (finding,) = found_in(place)
    assert finding.kind == "chain_changed"


def test_a_log_that_was_cut_off_at_its_end_is_found(place: Place) -> None:
    place.tamper("DELETE FROM events WHERE position > 10")
    (finding,) = found_in(place)
    assert (finding.kind, finding.where) == ("chain_truncated", "position 11")


def test_an_unreadable_page_is_reported_with_the_position_before_it(place: Place) -> None:
    connection = raw(place.path)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with place.path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    assert "file_damaged" in place.kinds()


# ---- the anchor


def test_an_anchor_is_written_checked_and_moved_on(place: Place, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.json"
    first, _ = place.look(anchor)
    assert first.anchor == "written"
    before = anchor.read_bytes()
    ledger = Ledger.open(place.path)
    take_group(ledger, submission("r3"))
    ledger.close()
    second, _ = place.look(anchor)
    assert second.anchor == "holds"
    assert second.head.position > first.head.position
    assert anchor.read_bytes() != before


def test_a_log_that_was_written_anew_differs_from_its_anchor(place: Place, tmp_path: Path) -> None:
    """The chain of the new log is whole: only what was kept elsewhere can tell."""
    anchor = tmp_path / "anchor.json"
    place.look(anchor)
    before = anchor.read_bytes()
    (identity,) = (dict(raw(place.path).execute("SELECT key, value FROM meta")),)
    place.path.unlink()
    mark.place_of(place.path).unlink()
    again = Place(place.folder)
    ledger = Ledger.open(again.path)
    take_group(ledger, *(submission(f"x{number}") for number in range(40)))
    render(ledger, again.spool, "batch-app-x1", (1, 2))
    ledger.close()
    again.tamper(*(f"UPDATE meta SET value = '{identity[key]}' WHERE key = '{key}'" for key in ("ledger_id", "epoch")))
    found, tally = again.look(anchor)
    assert found.anchor == "differs"
    assert tally.kinds[0].kind == "anchor_differs"
    assert anchor.read_bytes() == before


@pytest.mark.parametrize(("key", "kind"), [("ledger_id", "anchor_other_ledger"), ("epoch", "anchor_other_epoch")])
def test_an_anchor_of_another_ledger_or_epoch_says_so(place: Place, tmp_path: Path, key: str, kind: str) -> None:
    anchor = tmp_path / "anchor.json"
    place.look(anchor)
    place.tamper(f"UPDATE meta SET value = 'another' WHERE key = '{key}'")
    mark.place_of(place.path).unlink()
    found, tally = place.look(anchor)
    assert found.anchor == "differs"
    assert [line.kind for line in tally.kinds] == [kind]


def test_a_broken_chain_moves_no_anchor(place: Place, tmp_path: Path) -> None:
    place.tamper("UPDATE events SET at = 1 WHERE position = 3")
    anchor = tmp_path / "anchor.json"
    found, _ = place.look(anchor)
    assert found.anchor == "differs"
    assert not anchor.exists()


def test_sqlite_is_told_to_refuse_every_write(place: Place) -> None:
    with open_read_only(place.path) as live, pytest.raises(sqlite3.OperationalError, match="readonly"):
        live.execute("DELETE FROM meta")
