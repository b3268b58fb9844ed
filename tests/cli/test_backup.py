"""`backup`, `restore` and `export` as they are typed: what they print, and how they end."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import check_tables, log_of, submission
from support.ledger_on_disk import Place, contents, rows, take_group

WITHOUT = "--without-stores"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where the command line of the tests looks."""
    place = Place(tmp_path)
    place.fill()
    return place


# ---- backup


def test_a_backup_says_what_it_holds(place: Place, run: Any, tmp_path: Path) -> None:
    result = run("backup", str(tmp_path / "b.db"))
    assert (result.exit_code, result.stderr) == (0, "")
    head = log_of(place.path)[-1]
    assert f"position {head.position}\nhash {head.hash.hex()}\n" in result.stdout
    assert f"b.db: {(tmp_path / 'b.db').stat().st_size:,} bytes" in result.stdout
    check_tables(tmp_path / "b.db")


def test_a_backup_as_json(place: Place, run: Any, tmp_path: Path) -> None:
    said = json.loads(run("backup", str(tmp_path / "b.db"), "--json").stdout)
    (ledger_id,), (epoch,) = rows(
        place.path, "SELECT value FROM meta WHERE key IN ('ledger_id', 'epoch') ORDER BY key DESC"
    )
    head = log_of(place.path)[-1]
    assert said == {
        "file": str(tmp_path / "b.db"),
        "ledger_id": ledger_id,
        "epoch": epoch,
        "position": head.position,
        "hash": head.hash.hex(),
        "size_bytes": (tmp_path / "b.db").stat().st_size,
        "removed": [],
    }


def test_a_backup_overwrites_only_if_forced(place: Place, run: Any, tmp_path: Path) -> None:
    words = ("backup", str(tmp_path / "b.db"))
    assert run(*words).exit_code == 0
    result = run(*words)
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert "--force" in result.stderr
    assert run(*words, "--force").exit_code == 0


def test_a_folder_is_made_and_keeps_the_newest(place: Place, run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    for _ in range(3):
        ledger = Ledger.open(place.path)
        take_group(ledger, submission(f"r{ledger.head.position}"))
        ledger.close()
        said = json.loads(run("backup", f"{folder}/", "--keep", "2", "--json").stdout)
    assert len(said["removed"]) == 1
    assert len(os.listdir(folder)) == 2
    assert Path(said["file"]).parent == folder
    assert f"-{said['position']}.db" in said["file"]
    assert run("backup", str(tmp_path / "b.db"), "--keep", "2").exit_code == 2


def test_without_a_ledger_there_is_no_backup(run: Any, tmp_path: Path) -> None:
    result = run("backup", str(tmp_path / "b.db"))
    assert result.exit_code == 1
    assert "ledger_unusable: There is no ledger" in result.stderr
    assert os.listdir(tmp_path) == []


# ---- restore


@pytest.fixture
def file(place: Place, run: Any, tmp_path: Path) -> str:
    """A backup, after which fifty more images were asked for."""
    made = str(tmp_path / "b.db")
    assert run("backup", made).exit_code == 0
    ledger = Ledger.open(place.path)
    take_group(ledger, submission("later", quantity=50))
    ledger.close()
    return made


def test_a_restore_says_what_was_found_and_what_is_lost(place: Place, file: str, run: Any) -> None:
    result = run("restore", file, "--replace")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "2 series raised by 1000 above the highest number that was found." in result.stdout
    assert "  folder showed numbers up to 0\n  old ledger showed numbers up to 53\n" in result.stdout
    assert "Lost with what happened after the backup: 1 batch with 50 images (1 event)." in result.stdout
    assert "The old ledger is now " in result.stdout
    check_tables(place.path)


def test_a_restore_as_json(place: Place, file: str, run: Any) -> None:
    said = json.loads(run("restore", file, "--replace", "--margin", "7", WITHOUT, "--json").stdout)
    assert (said["margin"], said["first"], said["stores_asked"], said["series"]) == (7, 1, False, 2)
    assert said["lost"] == {"events": 1, "batches": 1, "images": 50}
    assert [one["store"] for one in said["evidence"]] == ["old ledger"]
    assert Path(said["aside"]).exists()
    assert said["position"] == len(log_of(place.path))


def test_a_restore_where_nothing_is_left_says_so(place: Place, file: str, run: Any) -> None:
    place.path.unlink()
    out = run("restore", file, WITHOUT).stdout
    assert "The stores were not asked." in out
    assert "A series that is unknown here begins with 1001" in out
    assert "it is unknown how much that was" in out


def test_a_loss_that_is_accepted_is_named(place: Place, file: str, run: Any) -> None:
    """The batch that was asked for after the backup was in the write-ahead log, and that is gone."""
    acknowledged = len(log_of(place.path))
    shutil.copy(file, place.path)
    result = run("restore", "--accept-loss", WITHOUT)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"ends at position {acknowledged - 1}, and position {acknowledged} was acknowledged" in result.stdout
    assert "A series that is unknown here begins with 1001" in result.stdout
    check_tables(place.path)
    again = run("restore", "--accept-loss", WITHOUT)
    assert again.exit_code == 1
    assert "nothing_to_do: " in again.stderr


@pytest.mark.parametrize("words", [(), ("b.db", "--accept-loss")])
def test_a_restore_is_told_a_file_or_that_the_loss_is_accepted(run: Any, words: tuple[str, ...]) -> None:
    result = run("restore", *words)
    assert result.exit_code == 2
    assert "Give a backup FILE, or --accept-loss alone." in result.stderr


def test_a_restore_over_a_ledger_is_refused_unless_it_is_told(
    place: Place, file: str, run: Any, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    result = run("restore", file, WITHOUT)
    assert result.exit_code == 1
    assert "There is a ledger already" in result.stderr
    ledger = Ledger.open(place.path)
    result = run("restore", file, WITHOUT, "--replace")
    ledger.close()
    assert result.exit_code == 1
    assert "ledger_unusable: Another daemon holds the ledger" in result.stderr
    assert contents(tmp_path) == before


def test_a_store_that_cannot_be_asked_stops_a_restore(place: Place, file: str, run: Any, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[stores.cloud]\nkind = "nobody"\n')
    result = run("restore", file, "--replace", "--config", str(tmp_path / "config.toml"))
    assert result.exit_code == 1
    assert "store_unavailable: The store cloud cannot say which numbers it has" in result.stderr
    assert "--without-stores" in result.stderr


# ---- export


def exported(run: Any, *words: str) -> list[dict[str, Any]]:
    result = run("export", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_events_come_out_as_they_stand_in_the_log_with_their_texts(place: Place, run: Any) -> None:
    events, log = exported(run), log_of(place.path)
    columns = [
        (line.position, line.kind, line.stream, line.schema, line.hash.hex(), json.loads(line.data)) for line in log
    ]
    keys = ("position", "kind", "stream", "schema", "hash", "data")
    assert [tuple(event[key] for key in keys) for event in events] == columns
    requested = next(event for event in events if event["stream"] == "batch-app-r1")
    assert "typed" in requested["texts"].values()
    assert requested["data"]["template"] in requested["texts"]


def test_a_text_that_was_erased_does_not_come_out(place: Place, run: Any) -> None:
    place.tamper("DELETE FROM blobs")
    assert {len(event["texts"]) for event in exported(run)} == {0}


def test_events_of_a_user_and_of_a_time(place: Place, run: Any) -> None:
    events = exported(run, "--user", "ANN")
    assert {event["stream"] for event in events} == {"batch-app-r2"}
    assert exported(run, "--since", "2099-01-01") == []
    assert exported(run, "--since", "2001-01-01") == exported(run)


def test_images_come_out_with_their_urls(place: Place, run: Any) -> None:
    images = exported(run, "--images")
    assert len(images) == len(place.images()) == 6
    first = images[0]
    assert (first["name"], first["number"], first["state"]) == (place.images()[0].public_id, 1, "stored")
    assert first["urls"] == {"folder": "file:///x.png"}
    assert (first["username"], first["character"], len(first["sha256"])) == ("Areg", "Opal Fever", 64)
    assert (first["verdict"], first["rating"]) == ("", 0)
    assert [image["number"] for image in exported(run, "--images", "--user", "ann")] == [1, 2, 3]
    assert exported(run, "--images", "--since", "2099-01-01") == []


def test_images_come_out_with_what_a_person_thinks_of_them(place: Place, run: Any) -> None:
    place.tamper("UPDATE images SET row = json_set(row, '$.verdict', 'rejected', '$.rating', 2) WHERE image = 2")
    assert [(one["verdict"], one["rating"]) for one in exported(run, "--images")][:2] == [("", 0), ("rejected", 2)]
    header, *_ = run("export", "--images", "--csv").stdout.splitlines()
    assert header.endswith(",medium,verdict,rating")


def test_images_of_one_medium_only(place: Place, run: Any) -> None:
    place.tamper("UPDATE images SET row = json_set(row, '$.extension', 'mp4') WHERE image = 2")
    media = [image["medium"] for image in exported(run, "--images")]
    assert media == ["image", "video", "image"] * 2
    assert {image["number"] for image in exported(run, "--images", "--medium", "video")} == {2}
    assert exported(run, "--images", "--medium", "model") == []
    assert run("export", "--medium", "video").exit_code == 2


def test_images_as_csv_into_a_new_file(place: Place, run: Any, tmp_path: Path) -> None:
    out = tmp_path / "images.csv"
    result = run("export", "--images", "--csv", "--out", str(out))
    assert result.stdout == f"{out}: 6 lines\n"
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["name"] for row in found] == [row.public_id for row in place.images()]
    assert (found[0]["urls"], out.stat().st_mode & 0o777) == ("file:///x.png", 0o600)
    assert run("export", "--out", str(out)).exit_code == 1
    assert json.loads(run("export", "--out", str(tmp_path / "e"), "--json").stdout)["lines"] == len(log_of(place.path))


def test_a_name_that_begins_like_a_formula_is_text_in_csv(run: Any, tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    take_group(ledger, submission(character="=1+1"))
    ledger.close()
    found = list(csv.DictReader(run("export", "--images", "--csv").stdout.splitlines()))
    assert {row["character"] for row in found} == {"'=1+1"}


def test_an_export_that_breaks_off_leaves_no_file(place: Place, run: Any, tmp_path: Path) -> None:
    place.tamper("UPDATE events SET kind = 'image_painted' WHERE position = 5")
    result = run("export", "--out", str(tmp_path / "e"))
    assert result.exit_code == 1
    assert "does not know (image_painted" in result.stderr
    assert not (tmp_path / "e").exists()


def test_csv_is_for_images_and_export_needs_a_ledger(run: Any) -> None:
    assert run("export", "--csv").exit_code == 2
    assert "There is no ledger" in run("export").stderr


def test_pages_of_an_export_follow_each_other_without_gap_or_double(
    place: Place, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [exported(run, *words) for words in ((), ("--images",), ("--user", "areg"))]
    monkeypatch.setattr("comfyledger.maintenance.export.PAGE", 2)
    assert [exported(run, *words) for words in ((), ("--images",), ("--user", "areg"))] == whole
