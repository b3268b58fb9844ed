"""A ledger without its end: what audit and doctor say, and the ways on, of which none gives a number twice."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.sqlite import mark
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.doctor import judge, machine
from comfyledger.maintenance.restore import Restored, restore
from support.killed_restore import EPOCH, OWN, Home, Shelf, killed_at
from support.ledger_builders import NOW_MS, check_tables, log_of, submission, take


def lose_end(home: Home) -> int:
    """A hundred numbers more, a kill, and the write-ahead log is gone; the position that was acknowledged."""
    ledger = Ledger.open(home.path)
    take(ledger, submission("later", quantity=100), submission("other", quantity=5, character="Other"))
    for end in ("", ".mark"):
        shutil.copy(f"{home.path}{end}", home.folder.parent / f"as-killed{end}")
    end_position = ledger.head.position
    ledger.close()
    for end in ("", ".mark"):
        shutil.copy(home.folder.parent / f"as-killed{end}", f"{home.path}{end}")
    return end_position


def accept(home: Home, shelf: Shelf | None = None, **changed: Any) -> Restored:
    wanted = home.wanted(shelf, **changed)
    return asyncio.run(restore(msgspec.structs.replace(wanted, file=None), silent))


def test_audit_and_doctor_name_both_positions(home: Home) -> None:
    assert home.kinds() == {}
    start, end = len(log_of(home.path)), lose_end(home)
    _, tally = home.look()
    (found,) = [kind for kind in tally.kinds if kind.kind == "end_lost"]
    assert f"ends at position {start}, and position {end} was acknowledged" in found.examples[0].sentence
    (line,) = judge.of_ledger(machine.ledger(home.path))
    assert (line.verdict, str(end) in line.sentence, "--accept-loss" in line.mend) == ("failure", True, True)


def test_an_audit_of_a_log_without_its_end_moves_no_anchor_on(home: Home, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    home.look(anchor)
    before = anchor.read_bytes()
    lose_end(home)
    audited, _ = home.look(anchor)
    assert (audited.anchor, anchor.read_bytes()) == ("differs", before)


def test_a_backup_alone_has_no_mark_and_is_whole(home: Home) -> None:
    lose_end(home)
    assert mark.lost_end(home.file) is None


def test_doctor_names_a_broken_mark_and_a_second_name(home: Home) -> None:
    assert [line.verdict for line in judge.of_ledger(machine.ledger(home.path))] == ["ok"]
    mark.place_of(home.path).write_bytes(b"what is this")
    (line,) = judge.of_ledger(machine.ledger(home.path))
    assert (line.verdict, "ledger.db.mark" in line.sentence) == ("warning", True)
    os.link(home.path, home.folder / "second.db")
    (line,) = judge.of_ledger(machine.ledger(home.path))
    assert (line.verdict, "second name" in line.sentence, "find DIR -samefile" in line.mend) == ("failure", True, True)


def test_a_ledger_that_is_gone_and_was_is_no_new_one_to_the_doctor(home: Home) -> None:
    home.path.unlink()
    (line,) = judge.of_ledger(machine.ledger(home.path))
    assert (line.verdict, "ends at position 0" in line.sentence) == ("failure", True)


def test_an_accepted_loss_begins_an_epoch_above_all_numbers_perhaps_given(home: Home) -> None:
    start, end = len(log_of(home.path)), lose_end(home)
    lines = log_of(home.path)
    accepted = accept(home, Shelf(57), margin=1_000)
    assert (accepted.position_before, accepted.acknowledged, accepted.epoch) == (start, end, EPOCH)
    assert accepted.lost is not None
    new = check_tables(home.path)
    assert new[: len(lines)] == lines
    assert {line.kind for line in new[len(lines) :]} == {"ledger_restored", "series_raised"}
    assert home.next_number() == 57 + 1 + 1_000
    assert home.next_number("Other", "unknown") > 1_000, "a series that the lost end may have opened"
    assert Path(accepted.aside).exists()
    assert home.files() == {*OWN, Path(accepted.aside).name}
    assert home.kinds() == {}


def test_a_restore_over_it_does_not_believe_that_it_is_whole(home: Home) -> None:
    end = lose_end(home)
    restored = home.restore(Shelf(3))
    assert restored.acknowledged == end
    assert f"position {end} was acknowledged" in restored.problems[0]
    assert home.next_number("Other", "unknown") > 1_000


def test_what_lost_nothing_accepts_no_loss(home: Home) -> None:
    before = home.path.read_bytes()
    with pytest.raises(Refused, match=r"The ledger .* has lost nothing"):
        accept(home)
    mark.place_of(home.path).unlink()
    with pytest.raises(Refused, match=r"The ledger .* has lost nothing"):
        accept(home)
    assert home.path.read_bytes() == before


def test_a_ledger_in_use_accepts_no_loss(home: Home) -> None:
    ledger = Ledger.open(home.path)
    with pytest.raises(LedgerUnusable, match="Another daemon holds"):
        accept(home)
    ledger.close()


@pytest.mark.parametrize("is_gone", [True, False])
def test_of_a_ledger_that_is_lost_altogether_only_the_name_goes_on(home: Home, is_gone: bool) -> None:
    """Its file is gone, or was never more than an empty one, in the first run."""
    own = mark.read(home.path)
    assert own is not None
    if is_gone:
        home.path.unlink()
    else:
        os.truncate(home.path, 0)
    with pytest.raises(LedgerUnusable, match="ends at position 0"):
        Ledger.open(home.path)
    accepted = accept(home, margin=1_000)
    assert (accepted.ledger_id, accepted.epoch_before) == (own.ledger_id, own.epoch)
    assert (accepted.position_before, accepted.acknowledged) == (0, own.head.position)
    assert home.next_number() > 1_000
    check_tables(home.path)


def test_after_it_an_earlier_copy_is_refused(home: Home, tmp_path: Path) -> None:
    lose_end(home)
    accepted = accept(home)
    shutil.copy(accepted.aside, home.path)
    with pytest.raises(LedgerUnusable, match="has lost its end"):
        Ledger.open(home.path)


def test_killed_at_any_step_the_loss_is_accepted_or_not(home: Home, tmp_path: Path) -> None:
    lose_end(home)
    seen, number = set[str](), 1
    while True:
        here = Home(home.copy_to(tmp_path / f"killed{number}" / "state").folder)
        if not killed_at(here, number, accept):
            break
        if log_of(here.path)[-1].kind == "series_raised":
            seen.add("new")
            assert here.next_number() > 1_000
        else:
            seen.add("old")
            with pytest.raises(LedgerUnusable, match="has lost its end"):
                Ledger.open(here.path)
            if number % 8 == 0:
                accept(here, Shelf(57), now_ms=NOW_MS + 1_000)
                assert here.next_number() > 1_000
        number += 1
    assert seen == {"old", "new"}


def test_a_restore_leaves_a_mark_of_the_new_ledger(home: Home) -> None:
    restored = home.restore()
    own = mark.read(home.path)
    assert own is not None
    assert (own.head.position, own.ledger_id, own.epoch) == (restored.position, restored.ledger_id, EPOCH)
    backup(home.path, home.folder.parent / "copy.db", 0.0, silent)
    assert not (home.folder.parent / "copy.db.mark").exists()
