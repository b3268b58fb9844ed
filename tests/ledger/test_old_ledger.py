"""The ledger of release cc50378, as a kill left it, opened by this code without a daemon."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from comfyledger.core.events import KINDS
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.results import Accepted
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import check_tables, submission, take
from support.old_ledger import unpack
from support.wire_app import Frame


def opened(folder: Path) -> tuple[Ledger, Frame]:
    left = unpack(folder, output=False)
    return Ledger.open(folder / "state" / "ledger.db"), left


def test_it_opens_with_all_acknowledged_work_and_tables_match_its_log(tmp_path: Path) -> None:
    ledger, left = opened(tmp_path)
    assert (ledger.ledger_id, ledger.epoch) == (left["info"]["ledger_id"], left["info"]["epoch"])
    assert ledger.head.position >= left["info"]["position"]
    ledger.close()
    lines = check_tables(tmp_path / "state" / "ledger.db")
    assert len(lines) == sum(left["rows"]["kinds"].values())


def test_it_has_every_kind_of_event_and_every_state_of_work(tmp_path: Path) -> None:
    ledger, left = opened(tmp_path)
    rows = ledger.open_rows()
    ledger.close()
    released = KINDS.keys() & left["rows"]["kinds"].keys()
    assert len(released) == 32, "an event of the old release is known no more"
    prompts = {row.state for row in rows if isinstance(row, PromptRow)}
    assert prompts == {"queued", "submitting", "accepted", "finished", "cancelling"}
    assert {"kept", "forgetting"} == {row.state for row in rows if isinstance(row, ImageRow)}


def test_each_series_gives_its_next_number(tmp_path: Path) -> None:
    ledger, left = opened(tmp_path)
    for username in ("Areg", "Mina", "Running"):
        series = series_of(Templates(), username, "Opal Fever", False)
        next_one = left["rows"]["series"][series.key]
        (answer,) = take(ledger, replace(submission(f"new of {username}", user=username), series=(series,)))
        assert isinstance(answer, Accepted)
        assert [image.number for image in answer.images] == [next_one, next_one + 1, next_one + 2]
    ledger.close()
    check_tables(tmp_path / "state" / "ledger.db")
