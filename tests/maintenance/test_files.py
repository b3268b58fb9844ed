"""The file itself, the texts beside the log, the spool and the inputs: what is missing, foreign or changed is named."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger.core.commands import AddInput, Forget, ForgetInput
from comfyledger.core.reports import InputGone
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import EXAMPLES_MAX, MENDS, Tally, silent
from comfyledger.maintenance.audit.run import audit
from comfyledger.maintenance.audit.spool import check_spool
from comfyledger.maintenance.audit.thumbnails import check_thumbnails
from comfyledger.maintenance.open_read_only import open_read_only
from support.ledger_builders import submission
from support.ledger_on_disk import Place, folders_of, render, rows, take_group

R1, R2 = "batch-app-r1", "batch-app-r2"


def test_what_nobody_touched_is_whole(place: Place) -> None:
    assert place.kinds() == {}


# ---- the file


@pytest.mark.parametrize("name", ["missing.db", "text.db", "foreign.db", "empty.db"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 100)
    rows(tmp_path / "foreign.db", "CREATE TABLE mine (a)")
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerUnusable):
        audit(tmp_path / name, folders_of(tmp_path), None, 0.0, Tally(), silent)


def test_a_dropped_trigger_is_found(place: Place) -> None:
    rows(place.path, "DROP TRIGGER events_are_never_deleted")
    assert place.kinds() == {"schema_changed": ["sqlite_schema"]}


@pytest.mark.parametrize("key", ["ledger_id", "epoch", "secret"])
def test_a_lost_identity_is_found(place: Place, key: str) -> None:
    place.tamper(f"DELETE FROM meta WHERE key = '{key}'")
    assert place.kinds() == {"file_damaged": [f"meta {key}"]}


def test_an_index_that_says_something_else_is_found(place: Place) -> None:
    (root,) = rows(place.path, "SELECT rootpage FROM sqlite_schema WHERE name = 'events_by_stream'")[0]
    (size,) = rows(place.path, "PRAGMA page_size")[0]
    page = bytearray(place.path.read_bytes())
    start = (int(str(root)) - 1) * int(str(size))
    at = page.index(R1.encode(), start, start + int(str(size)))
    page[at] ^= 1
    place.path.write_bytes(page)
    assert "file_damaged" in place.kinds()


def test_an_anchor_that_is_none_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "anchor").write_text("{}")
    with pytest.raises(Refused, match="anchor"):
        place.look(tmp_path / "anchor")


# ---- texts


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ("UPDATE blobs SET content = x'00' WHERE key = ''", {"blob_changed"}),
        ("UPDATE blobs SET salt = x'00' WHERE key = ''", {"blob_changed"}),
        ("UPDATE blobs SET key = 'x' WHERE key <> ''", {"blob_changed"}),
        ("UPDATE blobs SET key = '' WHERE key <> ''", {"blob_changed"}),
        ("UPDATE blobs SET digest = 'x' WHERE key = ''", {"blob_changed", "blob_missing", "blob_foreign"}),
        ("DELETE FROM blobs WHERE key = ''", {"blob_missing"}),
        ("INSERT INTO blobs (digest, salt, content) VALUES ('x', x'', x'')", {"blob_changed", "blob_foreign"}),
    ],
)
def test_a_text_that_is_not_what_was_written_is_found(place: Place, change: str, kinds: set[str]) -> None:
    place.tamper(change)
    assert set(place.kinds()) == kinds


# ---- the spool


def test_a_file_that_must_be_there_is_missing(place: Place) -> None:
    (place.spool / R2 / "1.png").unlink()
    assert place.kinds() == {"spool_missing": [str(place.spool / R2 / "1.png")]}


def test_a_stored_image_whose_file_retention_took_is_right(place: Place) -> None:
    (place.spool / R1 / "1.png").unlink()
    assert place.kinds() == {}


def test_a_spool_that_is_gone_is_only_missed_for_what_must_be_there(place: Place) -> None:
    place.spool.rename(place.folder / "elsewhere")
    assert place.kinds() == {"spool_missing": [str(place.spool / R2 / f"{index}.png") for index in (1, 2)]}


def test_a_file_that_no_store_has_must_stay_for_ever(place: Place) -> None:
    ledger = Ledger.open(place.path)
    take_group(ledger, msgspec.structs.replace(submission("r3"), stores=()))
    render(ledger, place.spool, "batch-app-r3", (1,), store=False)
    ledger.close()
    assert place.kinds() == {}
    (place.spool / "batch-app-r3" / "1.png").unlink()
    assert place.kinds() == {"spool_missing": [str(place.spool / "batch-app-r3" / "1.png")]}


def test_a_file_that_was_cut_off_is_told_with_its_size(place: Place) -> None:
    (place.spool / R1 / "2.png").write_bytes(b"")
    _, tally = place.look()
    assert "it has 0 bytes" in tally.kinds[0].examples[0].sentence


def test_a_file_that_cannot_be_read_is_found_and_the_others_are_checked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.spool / R2 / "2.png").unlink()
    real = hashlib.file_digest

    def broken(file: Any, kind: str) -> Any:
        if file.name == str(place.spool / R2 / "1.png"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", broken)
    kinds = place.kinds()
    assert kinds["spool_changed"] == [str(place.spool / R2 / "1.png")]
    assert kinds["spool_missing"] == [str(place.spool / R2 / "2.png")]


@pytest.mark.parametrize("batch_id", [R1, R2])
@pytest.mark.parametrize("content", [b"", b"other", None])
def test_a_changed_file_is_found(place: Place, batch_id: str, content: bytes | None) -> None:
    path = place.spool / batch_id / "2.png"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw) if content is None else content)
    assert place.kinds() == {"spool_changed": [str(path)]}


@pytest.mark.parametrize(
    "name",
    ["stray.txt", f"{R1}/9.png", f"{R1}/1.jpg", f"{R2}/3.png", "other/1.png", f"{R1}/notes", ".hidden", f"{R1}/01.png"],
)
def test_a_file_that_the_ledger_does_not_know_is_found(place: Place, name: str) -> None:
    path = place.spool / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert place.kinds() == {"spool_foreign": [str(path)]}


@pytest.mark.parametrize("extension", ["mp4", "gif", "latent", "bin"])
def test_a_file_of_any_medium_is_known_by_its_row(place: Place, extension: str) -> None:
    found = place.spool / R1 / "2.png"
    other = found.rename(found.with_suffix(f".{extension}"))
    place.tamper(f"UPDATE images SET row = json_set(row, '$.extension', '{extension}') WHERE image = 2")
    assert str(other) not in place.kinds().get("spool_foreign", [])


@pytest.mark.parametrize(("box", "found"), [("", 1), ("north", 1), ("south", 0)])
def test_a_file_is_missed_only_where_it_is_kept(place: Place, box: str, found: int) -> None:
    (place.spool / R1 / "2.png").unlink()
    place.tamper("UPDATE images SET row = json_set(row, '$.state', 'kept', '$.box', 'north') WHERE image = 2")
    tally = Tally()
    with open_read_only(place.path) as live:
        check_spool(live, place.spool, 0.0, tally, silent, box)
    assert sum(kind.count for kind in tally.kinds if kind.kind == "spool_missing") == found


def test_what_is_on_its_way_or_young_is_left_out(place: Place) -> None:
    (place.spool / R2 / ".3-a1-1.raw").write_text("x")
    assert place.kinds() == {}
    (place.spool / R2 / "3.png").write_text("x")
    now_s = (place.spool / R2 / "3.png").stat().st_mtime
    tally = Tally()
    with open_read_only(place.path) as live:
        check_spool(live, place.spool, now_s + 1, tally, silent)
    assert not tally


def test_a_link_in_the_spool_is_not_followed(place: Place, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "1.png").write_text("x")
    os.symlink(tmp_path / "far", place.spool / "link")
    assert place.kinds() == {"spool_foreign": [str(place.spool / "link")]}


# ---- the inputs

PICTURE = b"a picture that somebody gave"
SHA256 = hashlib.sha256(PICTURE).hexdigest()


@pytest.fixture
def lying(place: Place) -> Path:
    """The file of an input that the ledger knows."""
    ledger = Ledger.open(place.path)
    take_group(ledger, AddInput("app", SHA256, len(PICTURE), "png", 8, 8, "whole"))
    ledger.close()
    path = place.folder / "inputs" / SHA256[:2] / f"{SHA256}.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(PICTURE)
    return path


def test_an_input_that_lies_where_it_should_is_right(place: Place, lying: Path) -> None:
    (lying.parent / f".{SHA256}-3.pinned").write_text("x")
    (lying.parent / f".{SHA256}.strikes").write_text("x")
    (lying.parent.parent / ".3.raw").write_text("x")
    (lying.parent.parent / ".ledger").write_text("{}")
    assert place.kinds() == {}


def test_an_input_that_is_gone_or_changed_is_found(place: Place, lying: Path) -> None:
    lying.write_bytes(PICTURE[:-1] + b"?")
    assert place.kinds() == {"input_changed": [str(lying)]}
    lying.unlink()
    assert place.kinds() == {"input_missing": [str(lying)]}
    lying.mkdir()  # as one that cannot be read
    assert place.kinds() == {"input_changed": [str(lying)]}


def test_an_input_that_is_being_removed_may_be_there_or_not(place: Place, lying: Path) -> None:
    ledger = Ledger.open(place.path)
    take_group(ledger, ForgetInput("app", SHA256))
    assert place.kinds() == {}
    lying.write_bytes(b"a stub")
    assert place.kinds() == {}
    take_group(ledger, InputGone(SHA256, ""))
    ledger.close()
    assert place.kinds() == {"input_foreign": [str(lying)]}


@pytest.mark.parametrize("name", ["notes.txt", f"{SHA256}.png", f"00/{SHA256}.png", f"{SHA256[:2]}/{SHA256}.webp"])
def test_a_file_among_the_inputs_that_the_ledger_does_not_know_is_found(place: Place, lying: Path, name: str) -> None:
    path = place.folder / "inputs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PICTURE)
    assert place.kinds() == {"input_foreign": [str(path)]}


# ---- thumbnails


@pytest.mark.parametrize("name", ["1-small.webp", "1-large.webp"])
def test_a_thumbnail_of_a_kept_image_is_known_whatever_its_bytes(place: Place, name: str) -> None:
    put_thumbnail(place, f"{R1}/{name}")
    assert place.kinds() == {}


@pytest.mark.parametrize(
    "name", ["notes.txt", f"{R1}/99-small.webp", f"{R1}/1-huge.webp", f"{R1}/.1-small.webp.7", "elsewhere/1-small.webp"]
)
def test_a_thumbnail_of_no_image_is_found(place: Place, name: str) -> None:
    assert place.kinds() == {}
    path = put_thumbnail(place, name)
    assert place.kinds() == {"thumbnail_foreign": [str(path)]}
    tally = Tally()
    with open_read_only(place.path) as connection:
        check_thumbnails(connection, place.folder / "thumbnails", path.stat().st_mtime + 1, tally)
    assert not tally, "the daemon may be about to remove it"


def test_a_thumbnail_of_a_forgotten_image_is_found(place: Place) -> None:
    path = put_thumbnail(place, f"{R1}/1-small.webp")
    ledger = Ledger.open(place.path)
    take_group(ledger, Forget("app", R1, (1,)))
    ledger.close()
    assert place.kinds()["thumbnail_foreign"] == [str(path)]


def put_thumbnail(place: Place, name: str) -> Path:
    path = place.folder / "thumbnails" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF")
    return path


# ---- findings


def test_of_many_findings_only_the_first_are_kept_and_all_are_counted() -> None:
    tally = Tally()
    for number in range(1_000):
        tally.add("store_missing", str(number), "Gone.")
    (kind,) = tally.kinds
    assert (kind.count, len(kind.examples), kind.mend) == (1_000, EXAMPLES_MAX, MENDS["store_missing"])
