"""`audit` and `replay` as they are typed: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfyledger.cli.base import FOUND
from comfyledger.maintenance import saved_checks
from support.ledger_on_disk import Place, contents, rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where the command line of the tests looks."""
    place = Place(tmp_path)
    place.fill()
    return place


def test_a_whole_ledger_ends_with_0(place: Place, run: Any) -> None:
    result = run("audit")
    assert result.exit_code == 0
    assert "Everything is whole." in result.stdout
    assert result.stderr == ""


def test_findings_are_a_table_with_what_mends_them(place: Place, run: Any) -> None:
    place.tamper("UPDATE events SET at = 1 WHERE position = 3")
    (place.spool / "batch-app-r2" / "1.png").unlink()
    for number in range(5):
        (place.spool / f"stray{number}").touch()
        place.later_s()
    result = run("audit")
    assert result.exit_code == FOUND
    table = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines() if line.split()[1:2]}
    assert (table["chain_changed"], table["spool_missing"]) == ("1", "1")
    assert "position 3: The event at position 3 is not what was written" in result.stdout
    assert "comfyledger restore FILE" in result.stdout


def test_findings_as_json_have_kind_place_sentence_and_mend(place: Place, run: Any) -> None:
    (place.spool / "batch-app-r2" / "1.png").unlink()
    result = run("audit", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["whole"]) == (FOUND, False)
    (kind,) = said["findings"]
    assert (kind["kind"], kind["count"]) == ("spool_missing", 1)
    assert kind["mend"] == "comfyledger recover --dry-run"
    (example,) = kind["examples"]
    assert example["where"] == str(place.spool / "batch-app-r2" / "1.png")


def test_the_anchor_is_told(place: Place, run: Any, tmp_path: Path) -> None:
    anchor = str(tmp_path / "anchor.json")
    assert "The anchor was written." in run("audit", "--anchor", anchor).stdout
    assert "The anchor matches" in run("audit", "--anchor", anchor).stdout
    place.tamper("UPDATE events SET at = 1 WHERE position = 3")
    assert "The anchor was not changed" in run("audit", "--anchor", anchor).stdout


def test_the_stores_are_asked_only_if_told_so(place: Place, run: Any) -> None:
    """The place's images were given to a folder that is not the one of the configuration."""
    assert run("audit").exit_code == 0
    result = run("audit", "--stores")
    assert result.exit_code == FOUND
    assert "store_elsewhere" in result.stdout


def test_a_store_that_no_plugin_brings_is_a_finding_and_no_noise(place: Place, run: Any, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[stores.cloud]\nkind = "nobody"\n[stores.folder]\nkind = "folder"\n')
    result = run("audit", "--stores", "--json", "--config", str(tmp_path / "config.toml"))
    (kind,) = json.loads(result.stdout)["findings"]
    assert (kind["kind"], kind["count"]) == ("store_unusable", 2)


@pytest.mark.parametrize("words", [("audit",), ("replay", "--check"), ("replay", "--to", "1")])
def test_what_is_no_ledger_is_refused(run: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert "ledger_unusable: There is no ledger" in result.stderr
    (tmp_path / "ledger.db").write_text("x" * 5_000)
    assert "ledger_unusable" in run(*words).stderr


def test_replay_makes_a_file_and_says_where(place: Place, run: Any, tmp_path: Path) -> None:
    out = tmp_path / "then.db"
    result = run("replay", "--to", "4", "--out", str(out))
    assert result.exit_code == 0
    assert str(out) in result.stdout
    assert rows(out, "SELECT count(*) FROM events") == [(4,)]
    assert run("replay", "--to", "4", "--out", str(out)).exit_code == 1


def test_replay_takes_a_time(place: Place, run: Any, tmp_path: Path) -> None:
    said = json.loads(run("replay", "--to", "2001-01-01", "--out", str(tmp_path / "a.db"), "--json").stdout)
    assert said == {"position": 0, "file": str(tmp_path / "a.db")}
    assert run("replay", "--to", "soon").exit_code == 2


def test_replay_wants_one_of_two(place: Place, run: Any) -> None:
    assert run("replay").exit_code == 2
    assert run("replay", "--check", "--to", "4").exit_code == 2
    assert run("replay", "--check", "--rebuild").exit_code == 2


def test_replay_rebuild_mends_what_check_has_found(place: Place, run: Any) -> None:
    place.tamper("UPDATE series SET next = 99")
    assert "comfyledger replay --rebuild" in run("replay", "--check").stdout
    position = rows(place.path, "SELECT max(position) FROM events")[0][0]
    assert json.loads(run("replay", "--rebuild", "--json").stdout) == {"position": position}
    assert f"up to position {position}" in run("replay", "--rebuild").stdout
    assert run("replay", "--check").exit_code == 0


def test_replay_check_names_the_row_that_is_wrong(place: Place, run: Any) -> None:
    assert run("replay", "--check").exit_code == 0
    place.tamper("UPDATE series SET next = 99")
    before = contents(place.folder)
    result = run("replay", "--check")
    assert result.exit_code == FOUND
    assert "`next` is 99, should be 4." in result.stdout
    assert contents(place.folder) == before


def test_the_result_of_an_audit_is_kept_for_the_daemon(place: Place, run: Any, tmp_path: Path) -> None:
    (place.spool / "batch-app-r2" / "1.png").unlink()
    run("audit", "--json")
    (kept,) = saved_checks.load(tmp_path)
    assert (kept.kind, kept.command, kept.ok) == ("audit", "comfyledger audit", False)
    assert kept.findings[0].text.startswith("spool_missing (1): ")
