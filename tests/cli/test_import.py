"""What `import` asks page by page, adds up, remembers between calls, raises, and leaves to a person."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.cli import base, import_state
from comfyledger.cli.commands import import_store
from comfyledger.cli.import_state import Tally
from comfyledger.errors import Refused

FOLDER = "Areg/characters/opal-fever/images"
STEM = "Areg_opal-fever_image_"
IDENTITY = "cloudinary:demo:dynamic"


def held(highest: int, second: int = 0, images: int = 1, stem: str = STEM, folder: str = FOLDER) -> wire.SeriesHeld:
    return wire.SeriesHeld(folder, stem, highest, second, images)


class Account:
    """A store that gives these pages; the cursor is the number of the next one. `trouble` comes first, once each."""

    def __init__(self, door: Any, pages: list[list[wire.SeriesHeld]], others: int = 0) -> None:
        self.pages = pages
        self.others = others
        self.trouble: dict[str, Refused] = {}
        places = [wire.StoreInfo("main", "cloudinary", IDENTITY), wire.StoreInfo("nas", "folder", "folder:/nas")]
        info = wire.Info("0", 1, "l1", "e1", 0, False, 0, {}, [], [], [], places, [])
        door.answers |= {"server_info": info, "survey_store": self.survey, "raise_series": self.raised}

    def survey(self, asked: dict[str, Any]) -> wire.Survey:
        cursor = asked.get("cursor", "")
        if cursor in self.trouble:
            raise self.trouble.pop(cursor)
        number = int(cursor or 0)
        found = self.pages[number]
        files = sum(series.images for series in found) + self.others
        return wire.Survey(found, files, self.others, str(number + 1) if number + 1 < len(self.pages) else "")

    def raised(self, asked: dict[str, Any]) -> wire.SeriesRaised:
        return wire.SeriesRaised(len(asked["found"]), 0, 0)


Open = Callable[..., Account]


@pytest.fixture
def account(door: Any) -> Open:
    return lambda *pages, **more: Account(door, list(pages), **more)


def raised(door: Any) -> list[tuple[str, int]]:
    """What was raised, by the end of its stem."""
    return [(one["stem"], one["highest"]) for asked in door.requests("raise_series") for one in asked["found"]]


def cursors(door: Any) -> list[str]:
    return [asked.get("cursor", "") for asked in door.requests("survey_store")]


def test_each_series_is_raised_once_above_the_highest_number_of_all_pages(door: Any, run: Any, account: Open) -> None:
    account([held(57, 56, 57), held(3, stem="x_")], [held(60, 59, 3), held(2, stem="x_")], [], others=1)
    result = run("import", "main", "--json")
    assert result.exit_code == base.DONE
    assert cursors(door) == ["", "1", "2"]
    assert raised(door) == [(STEM, 60), ("x_", 3)]
    said = json.loads(result.stdout)
    assert (said["files"], said["others"], said["opened"], said["doubted"]) == (65, 3, 2, [])
    assert [(one["highest"], one["second"], one["images"]) for one in said["series"]] == [(60, 59, 60), (3, 2, 2)]


def test_other_spellings_are_one_series_and_one_number_counts_once(door: Any, run: Any, account: Open) -> None:
    account([held(20_251_122)], [held(20_251_122, stem=STEM.upper(), folder=FOLDER.upper())])
    said = json.loads(run("import", "main", "--json").stdout)
    assert [(one["highest"], one["second"], one["images"]) for one in said["series"]] == [(20_251_122, 0, 2)]


@pytest.mark.parametrize(
    ("given", "found"), [("main", "main"), ("cloudinary", "main"), ("nas", "nas"), ("folder", "nas")]
)
def test_a_store_is_named_or_its_kind_is(door: Any, run: Any, account: Open, given: str, found: str) -> None:
    account([])
    assert run("import", given).exit_code == base.DONE
    assert door.requests("survey_store") == [{"store": found}]


def test_a_store_that_is_not_there_is_refused_with_those_that_are(door: Any, run: Any, account: Open) -> None:
    account([])
    result = run("import", "s3")
    assert result.exit_code == base.REFUSED
    assert "main (cloudinary), nas (folder)" in result.stderr
    assert door.requests("survey_store") == []


def test_a_store_that_does_not_work_is_not_asked(door: Any, run: Any, account: Open) -> None:
    account([])
    places = [wire.StoreInfo("main", "cloudinary", "", "It is not prepared yet.")]
    door.answers["server_info"] = msgspec.structs.replace(door.answers["server_info"], stores=places)
    result = run("import", "main")
    assert result.exit_code == base.REFUSED
    assert "not prepared yet" in result.stderr
    assert door.requests("survey_store") == []


def test_a_dry_run_raises_nothing_and_spares_the_next_call_the_reading(door: Any, run: Any, account: Open) -> None:
    account([held(57, 56, 57)])
    result = run("import", "main", "--prefix", "Areg", "--dry-run")
    assert "1 series would continue" in result.stdout
    assert raised(door) == []
    assert run("import", "main", "--prefix", "Areg").exit_code == base.DONE
    assert door.requests("survey_store") == [{"store": "main", "prefix": "Areg"}]
    assert raised(door) == [(STEM, 57)]


def test_an_outlier_is_shown_and_not_taken_until_it_is_accepted(door: Any, run: Any, account: Open) -> None:
    account([held(20_251_122, 57, 58), held(5, 4, 5, stem="x_")])
    result = run("import", "main")
    assert result.exit_code == base.REFUSED
    assert "20251122" in result.stdout
    assert "--accept-outlier" in result.stderr
    assert raised(door) == [("x_", 5)]
    assert run("import", "main", "--accept-outlier").exit_code == base.DONE
    assert raised(door)[1:] == [(STEM, 20_251_122), ("x_", 5)]
    assert len(cursors(door)) == 1


def test_an_outlier_that_is_ignored_leaves_the_number_below_it(door: Any, run: Any, account: Open) -> None:
    account([held(20_251_122, 57, 58), held(5, 4, 5, stem="x_"), held(20_251_122, stem="only_")])
    assert run("import", "main").exit_code == base.REFUSED
    assert run("import", "main", "--ignore-outlier").exit_code == base.DONE
    asked = {one["stem"]: one for one in door.requests("raise_series")[-1]["found"]}
    assert (asked[STEM]["highest"], asked["x_"]["highest"]) == (57, 5)
    assert (asked["only_"]["highest"], asked["only_"]["counts"]) == (20_251_122, False)
    assert len(cursors(door)) == 2, "what lies below an outlier is read anew before it is believed"


def test_two_dates_are_no_better_than_one_on_whichever_pages_they_are(door: Any, run: Any, account: Open) -> None:
    account([held(57, 56, 57)], [held(20_251_122, 20_251_121, 2)])
    result = run("import", "main", "--json")
    assert result.exit_code == base.REFUSED
    assert raised(door) == []
    assert run("import", "main", "--ignore-outlier").exit_code == base.DONE
    assert raised(door) == [(STEM, 57)]


def test_both_decisions_at_once_are_none(door: Any, run: Any, account: Open) -> None:
    account([held(20_251_122, 57, 58)])
    assert run("import", "main", "--ignore-outlier", "--accept-outlier").exit_code == 2
    assert cursors(door) == []


def test_a_store_that_asks_to_wait_is_waited_for_in_sight(door: Any, run: Any, account: Open) -> None:
    made = account([held(57, 56, 57)], [held(60, 59, 3)])
    made.trouble["1"] = Refused("store_unavailable", "Rate Limit Exceeded.", retry_after_s=0.01)
    result = run("import", "main")
    assert result.exit_code == base.DONE
    assert cursors(door) == ["", "1", "1"]
    assert "main asks to wait until" in result.stderr
    assert "57 files are read" in result.stderr
    assert raised(door) == [(STEM, 60)]


def test_what_was_interrupted_goes_on_at_the_next_page(door: Any, run: Any, account: Open) -> None:
    made = account([held(57, 56, 57)], [held(60, 59, 3)])
    made.trouble["1"] = Refused("store_unavailable", "No route to host.")
    first = run("import", "main")
    assert first.exit_code == base.REFUSED
    assert "57 files are read" in first.stderr
    assert raised(door) == []
    again = run("import", "main")
    assert "57 files" in again.stderr
    assert cursors(door) == ["", "1", "1"]
    assert raised(door) == [(STEM, 60)]


def test_what_broke_off_while_raising_is_raised_without_reading_again(door: Any, run: Any, account: Open) -> None:
    made = account([held(57, 56, 57)])
    door.answers["raise_series"] = lambda asked: (_ for _ in ()).throw(Refused("internal"))
    assert run("import", "main").exit_code == base.REFUSED
    door.answers["raise_series"] = made.raised
    assert run("import", "main").exit_code == base.DONE
    assert cursors(door) == [""]


def test_after_its_end_an_import_begins_anew(door: Any, run: Any, account: Open) -> None:
    account([held(57, 56, 57)])
    run("import", "main")
    run("import", "main")
    assert cursors(door) == ["", ""]


def interrupted(folder: Path, **changed: Any) -> None:
    facts: dict[str, Any] = {"identity": IDENTITY, "epoch": "e1", "prefix": "", "begun_at_ms": int(time.time() * 1000)}
    import_state.save(folder / "import-main.json", Tally(**(facts | {"cursor": "1", "files": 500} | changed)))


def test_a_fresh_beginning_of_the_same_is_gone_on_with(door: Any, run: Any, account: Open, tmp_path: Path) -> None:
    account([], [])
    interrupted(tmp_path)
    assert run("import", "main").exit_code == base.DONE
    assert cursors(door) == ["1"]


@pytest.mark.parametrize(
    "changed", [{"identity": "cloudinary:other"}, {"epoch": "e0"}, {"prefix": "Mina"}, {"begun_at_ms": 0}]
)
def test_what_was_read_elsewhere_or_long_ago_is_read_anew(
    door: Any, run: Any, account: Open, tmp_path: Path, changed: dict[str, Any]
) -> None:
    account([], [])
    interrupted(tmp_path, **changed)
    run("import", "main")
    assert cursors(door) == ["", "1"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_a_file_that_cannot_be_read_is_no_beginning(
    door: Any, run: Any, account: Open, tmp_path: Path, content: bytes
) -> None:
    account([], [])
    (tmp_path / "import-main.json").write_bytes(content)
    assert run("import", "main").exit_code == base.DONE
    assert cursors(door) == ["", "1"]


def test_restart_begins_anew(door: Any, run: Any, account: Open, tmp_path: Path) -> None:
    account([], [])
    interrupted(tmp_path)
    run("import", "main", "--restart")
    assert cursors(door) == ["", "1"]


def test_where_nothing_can_be_kept_the_import_ends_and_says_so(
    door: Any, run: Any, account: Open, tmp_path: Path
) -> None:
    account([held(57)])
    (tmp_path / "import-main.json").mkdir()
    result = run("import", "main")
    assert result.exit_code == base.REFUSED
    assert "cannot be written" in result.stderr
    assert raised(door) == []


def test_series_are_raised_in_pages_that_the_wire_takes(door: Any, run: Any, account: Open) -> None:
    account([held(7, stem=f"s{number}_") for number in range(501)])
    result = run("import", "main")
    assert [len(asked["found"]) for asked in door.requests("raise_series")] == [500, 1]
    assert "Series new: 501" in result.stdout
    assert f"and {501 - import_store.SHOWN} more series" in result.stdout


def test_nothing_that_a_store_says_can_steer_the_terminal(door: Any, run: Any, account: Open) -> None:
    account([held(7, stem="\x1b[2J_"), held(20_251_122, stem="\x1b[3J_")])
    assert "\x1b" not in run("import", "main").output


def test_a_tally_of_many_files_stays_small() -> None:
    tally = Tally(IDENTITY, "e1", "", 0)
    for number in range(324):
        found = [held(60, 59, 60, stem=f"s{(number * 9 + place) % 2700}_") for place in range(9)]
        tally.add(wire.Survey(found, 540, 0, str(number)))
    assert tally.files > 162_000
    assert len(msgspec.json.encode(tally)) < 1_000_000
