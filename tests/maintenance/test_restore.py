"""A restore leaves the old ledger or the new one, and no number comes again that anything shows to have been given."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger.core.commands import (
    AddBackend,
    AddWebhook,
    Forget,
    ForgetInput,
    PauseWebhook,
    RemoveBackend,
    RemoveWebhook,
    RestoreLedger,
    ResumeWebhook,
)
from comfyledger.core.events import BackendAdded, BackendRemoved, WebhookAdded, WebhookRemoved
from comfyledger.core.keys import InputKey
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.reports import BackendEnded, WebhookProgressed
from comfyledger.core.webhooks import OwedDelivery, WebhookProgress, WebhookRow
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.sqlite import replace
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import salvage
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.open_read_only import Identity
from comfyledger.maintenance.rebuild import rebuild
from comfyledger.maintenance.replay import replay
from comfyledger.maintenance.salvage import Lost
from comfyledger.plugin_api import Numbers, Series
from support.core_builders import adding, sending
from support.killed_restore import EPOCH, OWN, Home, Shelf, killed_at
from support.ledger_builders import NOW_MS, check_tables, log_of, raw, submission, take, take_one
from support.ledger_on_disk import contents, rows

OPAL = series_of(Templates(), "Areg", "Opal Fever", True)


def lose(home: Home) -> None:
    for path in home.folder.glob("ledger.db*"):
        path.unlink()


def overwrite(path: Path, start: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * size)


# ---- the new ledger


def test_a_restore_is_the_backup_in_a_new_epoch_with_a_whole_log(home: Home) -> None:
    before = log_of(home.file)
    ledger = Ledger.open(home.path)
    identity = (ledger.ledger_id, ledger.secret, ledger.epoch)
    ledger.close()
    restored = home.restore()
    lines = check_tables(home.path)
    assert lines[: len(before)] == before
    assert [line.kind for line in lines[len(before) :]] == ["ledger_restored", "series_raised", "series_raised"]
    ledger = Ledger.open(home.path)
    assert (ledger.ledger_id, ledger.secret, restored.epoch_before) == identity
    assert (ledger.epoch, restored.epoch) == (EPOCH, EPOCH)
    ledger.close()
    assert (restored.position_before, restored.position) == (len(before), len(lines))
    assert home.files() == {*OWN, Path(restored.aside).name}
    assert home.kinds().keys() <= {"spool_foreign"}


def test_a_request_from_before_the_backup_still_gets_its_answer(home: Home) -> None:
    home.use("later")
    home.restore()
    ledger = Ledger.open(home.path)
    answers = take(ledger, submission("r1", prompt="typed"), submission("later", quantity=100))
    with pytest.raises(Refused, match="used before for another request"), ledger.group():
        take_one(ledger, submission("r1", quantity=9, body="other"))
    ledger.close()
    assert [answer.repeated for answer in answers] == [True, False]
    assert [image.number for image in answers[0].images] == [1, 2, 3]


# ---- numbers


def test_without_an_old_ledger_the_stores_and_the_margin_decide(home: Home) -> None:
    home.use("later")
    lose(home)
    shelf = Shelf(157)
    restored = home.restore(shelf)
    assert home.next_number() == 157 + 1 + 1_000
    assert Series(OPAL.folder, OPAL.stem, OPAL.suffix) in shelf.asked
    assert (restored.first, restored.lost, restored.aside) == (1_001, None, "")
    assert [(one.store, one.highest) for one in restored.evidence] == [("shelf", 157)]
    assert home.next_number("Nobody Knew", "n2") == 1_001


def test_a_series_that_no_ledger_knows_any_more_does_not_begin_at_one(home: Home) -> None:
    """The ledger that is replaced was itself restored without a trace of the one before it."""
    home.use("later", character="Late Comer")
    lose(home)
    assert home.restore(stores=None, margin=200).first == 201
    assert home.restore(stores=None, margin=200, now_ms=NOW_MS + 1_000).first == 201
    assert home.next_number("Late Comer") == 201


def test_the_first_number_rises_by_the_margin_with_each_lost_ledger(home: Home) -> None:
    lose(home)
    home.restore(stores=None, margin=200)
    home.file.unlink()
    backup(home.path, home.file, 0.0, silent)
    home.use("later", character="Late Comer")
    lose(home)
    home.restore(stores=None, margin=200)
    assert home.next_number("Late Comer", "n2") == 401


def test_where_nothing_is_asked_the_margin_alone_says_how_far(home: Home) -> None:
    lose(home)
    restored = home.restore(stores=None, margin=40)
    assert home.next_number() == 44
    assert (restored.stores_asked, restored.evidence) == (False, ())


def test_the_old_ledger_says_which_numbers_it_gave_and_what_is_lost(home: Home) -> None:
    home.use("later", "latest")
    home.use("new", quantity=8, character="Late Comer")
    restored = home.restore(Shelf(57), margin=10)
    assert restored.lost == Lost(events=4, batches=3, images=208)
    assert (restored.first, restored.problems) == (1, ())
    assert {one.store: one.highest for one in restored.evidence} == {"shelf": 57, "old ledger": 203}
    assert home.next_number() == 203 + 1 + 10
    assert home.next_number("Late Comer", "n2") == 57 + 1 + 10
    assert home.next_number("Nobody Knew", "n3") == 1


def test_an_old_ledger_of_another_birth_tells_its_numbers_and_nothing_else(home: Home) -> None:
    """As when a daemon was started after the ledger was lost, and gave numbers from a new one."""
    lose(home)
    home.use("other", quantity=77)
    restored = home.restore()
    assert (restored.lost, restored.first) == (None, 1_001)
    assert home.next_number() == 77 + 1 + 1_000


BREAKS = {
    "a changed event": ("UPDATE events SET at = 7 WHERE position = (SELECT max(position) FROM events)",),
    "events that cannot be read": ("UPDATE events SET data = '{'",),
    "its end cut off": ("DELETE FROM events WHERE position > 20",),
    "rows that cannot be read": ("UPDATE series SET row = 'x'", "UPDATE events SET data = '{'"),
    "a table gone": ("DROP TABLE series",),
    "another table gone": ("DROP TABLE names_given",),
    "names alone": ("DROP TABLE series", "UPDATE events SET data = '{'"),
    "series alone": ("DROP TABLE names_given", "UPDATE events SET data = '{'"),
    "events alone": ("DROP TABLE names_given", "DROP TABLE series"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_ledger_tells_the_numbers_that_can_still_be_read(home: Home, broken: str) -> None:
    home.use("later")
    home.tamper(*BREAKS[broken])
    restored = home.restore(margin=10)
    assert restored.problems != ()
    assert restored.first == 11
    assert home.next_number() == 103 + 1 + 10
    check_tables(home.path)


def test_a_ledger_that_does_not_open_at_all_is_moved_aside_as_it_is(home: Home) -> None:
    home.use("later")
    overwrite(home.path, 0, 4096)
    before = home.path.read_bytes()
    restored = home.restore(Shelf(3), margin=500)
    assert len(restored.problems) == 1
    assert Path(restored.aside).read_bytes() == before
    assert home.next_number() == 3 + 1 + 500


@pytest.mark.parametrize("page", range(2, 30, 5))
def test_whatever_page_of_the_old_ledger_is_damaged_there_is_a_restore(home: Home, page: int) -> None:
    """Without a page that names the tables nothing can be read, as without the first page."""
    home.use("later")
    names_tables = b"CREATE " in home.path.read_bytes()[4096 * (page - 1) : 4096 * page]
    overwrite(home.path, 4096 * (page - 1), 4096)
    restored = home.restore(margin=100)
    assert home.next_number() == (3 if names_tables else 103) + 100 + 1
    assert Path(restored.aside).exists()
    check_tables(home.path)


@pytest.mark.parametrize("damaged", [150, 299])
def test_of_a_log_with_a_damaged_page_the_events_before_and_after_it_are_read(home: Home, damaged: int) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, *(submission(f"m{number}", quantity=1) for number in range(300)))
    ledger.close()
    backup(home.path, home.file, 0.0, silent, force=True)
    ledger = Ledger.open(home.path)
    for number in range(300):
        take(ledger, Forget("app", f"batch-app-m{number}"))
    ledger.close()
    sql = f"SELECT data FROM events WHERE kind = 'image_forgotten' AND data LIKE '%batch-app-m{damaged}\"%'"
    ((data,),) = rows(home.path, sql)
    raw = data.encode() if isinstance(data, str) else bytes(data)
    overwrite(home.path, home.path.read_bytes().index(raw) // 4096 * 4096, 4096)
    restored = home.restore()
    assert 250 < restored.forgotten < 300
    assert restored.lost is None
    assert restored.problems != ()


def test_an_epoch_that_is_not_the_last_restores_is_found(home: Home) -> None:
    home.restore()
    assert "file_damaged" not in home.kinds()
    home.tamper("UPDATE meta SET value = 'another' WHERE key = 'epoch'")
    assert home.kinds()["file_damaged"] == ["meta epoch"]


class Torn:
    """A table of which the middle cannot be read."""

    def execute(self, sql: str) -> Iterator[tuple[int]]:
        yield from [(9,), (8,)] if sql.endswith("DESC") else [(1,), (2,)]
        raise sqlite3.DatabaseError("database disk image is malformed")


def test_a_table_that_breaks_off_is_read_from_its_end_as_well() -> None:
    reading = salvage._Reading(Identity("l", "e"), Head(), silent)
    assert [*reading._rows(Torn(), "t", "c", "k")] == [(1,), (2,), (9,), (8,)]  # type: ignore[arg-type]
    assert len(reading.salvaged().problems) == 2


def test_an_image_that_got_another_number_counts_by_that_one() -> None:
    reading = salvage._Reading(Identity("l", "e"), Head(), silent)
    reading._read_event("image_renumbered", '{"series":"f/n_","number":57,"folder":"F","file":"N_57"}')
    reading._read_event("image_renumbered", '{"series":"f/n_"}')
    found = reading.salvaged()
    assert found.traces == {"f/n_": salvage.Trace("F", "N_", "", 57)}
    assert len(found.problems) == 1


BOTH: Any = {"media": ("image", "video")}
VIDEOS = series_of(Templates(), "Areg", "Opal Fever", True, "video")


def test_each_series_of_a_batch_is_known_by_a_name_of_its_own(home: Home) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, submission("both", quantity=2, **BOTH))
    ledger.close()
    found = salvage.series_in(raw(home.path))
    assert found[OPAL.key] == salvage.Trace(OPAL.folder, OPAL.stem, "", 5)
    assert found[VIDEOS.key] == salvage.Trace(VIDEOS.folder, VIDEOS.stem, "", 2)


@pytest.mark.parametrize("lost", [(), ("series",), ("series", "names_given"), ("names_given", "batches", "images")])
def test_numbers_of_every_series_of_a_lost_batch_are_not_given_again(home: Home, lost: tuple[str, ...]) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, submission("lost", quantity=7, **BOTH))
    ledger.close()
    home.tamper(*(f"DROP TABLE {table}" for table in lost))
    home.restore(margin=0)
    ledger = Ledger.open(home.path)
    (answer,) = take(ledger, submission("next", quantity=1, **BOTH))
    ledger.close()
    assert [image.number for image in answer.images] == [11, 8]


@pytest.mark.parametrize("output", [0, 3])
def test_an_event_that_names_an_output_that_is_not_there_is_a_problem_and_no_end(output: int) -> None:
    reading = salvage._Reading(Identity("l", "e"), Head(), silent)
    image = {"number": 7, "folder": "F", "file": "N_7", "output": output}
    fields = {"series": "f/n_", "images": [image], "outputs": [{"series": "f/n_"}] if output else []}
    reading._read_event("batch_requested", json.dumps(fields))
    assert len(reading.salvaged().problems) == (1 if output else 0)


def test_the_spool_says_how_many_numbers_at_least_were_given(home: Home) -> None:
    """And what it has of batches that are lost stays."""
    lose(home)
    stray = home.spool / "batch-app-lost"
    stray.mkdir()
    for index in range(1, 31):
        (stray / f"{index}.{('png', 'mp4', '3mf')[index % 3]}").touch()
    (stray / "notes.txt").touch()
    restored = home.restore(Shelf(3), margin=5)
    assert (restored.strangers, restored.margin) == (30, 30)
    assert home.next_number() == 3 + 1 + 30
    assert len(os.listdir(stray)) == 31


@pytest.mark.parametrize("harm", ["", "UPDATE events SET at = 7 WHERE kind = 'image_forgotten'"])
def test_what_was_forgotten_after_the_backup_is_forgotten_again(home: Home, harm: str) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, Forget("app", "batch-app-r1"), submission("lost", prompt="lost"))
    take(ledger, Forget("app", "batch-app-lost"))
    ledger.close()
    home.tamper(*filter(None, [harm]))
    assert b"typed" in b"".join(content for (content,) in rows(home.file, "SELECT content FROM blobs"))
    restored = home.restore()
    assert restored.forgotten == 1
    kinds = [line.kind for line in check_tables(home.path)[restored.position_before :]]
    assert kinds == ["ledger_restored", "series_raised", "series_raised", "image_forgotten", "blob_erased"]
    assert b"typed" not in home.path.read_bytes()
    assert home.next_number() > 1_000


def test_an_input_that_was_forgotten_after_the_backup_is_forgotten_again(home: Home) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, *map(adding, ("1a", "1b", "1c", "1d")), adding("1d", "other"))
    ledger.close()
    backup(home.path, home.file, 0.0, silent, force=True)
    ledger = Ledger.open(home.path)
    take(ledger, *(sending(name) for name in ("1a", "1b")), adding("2e"), sending("2e"))
    take(ledger, *(ForgetInput("app", name, ("app",)) for name in ("1a", "1c", "1d", "2e")), adding("1c"))
    ledger.close()
    restored = home.restore()
    assert restored.forgotten == 2
    kinds = [line.kind for line in check_tables(home.path)[restored.position_before :]]
    assert Counter(kinds) >= Counter(["input_sent"] * 2 + ["input_forgotten"] * 2 + ["input_erased"])
    ledger = Ledger.open(home.path)
    kept = {name: ledger.load([InputKey(name)]).input(name) for name in ("1a", "1b", "1c", "1d", "2e")}
    ledger.close()
    assert {name: row.is_usable for name, row in kept.items() if row} == {
        "1a": False,
        "1b": True,
        "1c": True,
        "1d": True,
    }
    assert [copy.state for row in kept.values() if row for copy in row.copies] == ["removing", "sent"]


def test_a_series_that_the_old_ledger_has_lost_goes_on_above_what_it_may_have_given(home: Home) -> None:
    """The old ledger was itself restored from a backup without the series; it would have begun it at 500."""
    before = home.path.with_name("before.db")
    backup(home.path, before, 0.0, silent)
    home.use("later", quantity=3, character="Other Fox")
    backup(home.path, home.file, 0.0, silent, force=True)
    for end in ("", "-wal", "-shm", ".mark"):
        home.path.with_name(home.path.name + end).unlink(missing_ok=True)
    before.rename(home.path)
    ledger = Ledger.open(home.path)
    take(ledger, RestoreLedger("cli", "e1", "e2", (), margin=0, first=500, seen=()))
    ledger.close()
    home.restore(margin=10)
    assert home.next_number("Other Fox") == 499 + 1 + 10


def test_an_input_whose_bytes_went_after_the_backup_is_said_to_be_missing(home: Home) -> None:
    home.give()
    backup(home.path, home.file, 0.0, silent, force=True)
    (file,) = (path for path in (home.folder / "inputs").rglob("*") if path.is_file())
    file.unlink()
    home.restore()
    assert home.kinds() == {"input_missing": [str(file)]}


def added(name: str, place: str = "", **more: Any) -> AddBackend:
    return AddBackend("app", name, f"http://{place or name}.example:8188", **more)


def backends_of(home: Home) -> list[str]:
    return [
        f"{name} {url}" for name, url in rows(home.path, "SELECT name, row ->> '$.url' FROM backends WHERE present")
    ]


def test_backends_are_those_that_the_old_ledger_had(home: Home) -> None:
    ledger = Ledger.open(home.path)
    for one in ("gone", "stays", "other"):
        take(ledger, added(one))
    ledger.close()
    backup(home.path, home.file, 0.0, silent, force=True)
    ledger = Ledger.open(home.path)
    take(ledger, RemoveBackend("app", "gone"))
    take(ledger, added("new", "gone"))
    take(ledger, added("stays", tags=("flux",)))
    take(ledger, added("late"))
    take(ledger, BackendEnded("late", "expired"))
    ledger.close()
    home.restore()
    places = [("new", "gone"), ("other", "other"), ("stays", "stays")]
    assert backends_of(home) == [f"{name} http://{place}.example:8188" for name, place in places]
    (tags,) = rows(home.path, "SELECT row ->> '$.tags' FROM backends WHERE name = 'stays'")
    assert tags == ('["flux"]',)
    check_tables(home.path)


def hook(name: str, path: str = "", *kinds: str) -> AddWebhook:
    return AddWebhook("app", name, f"https://{name}.example/{path}", kinds or ("batch_settled",))


def webhooks_of(home: Home) -> list[WebhookRow]:
    return [msgspec.json.decode(row, type=WebhookRow) for (row,) in rows(home.path, "SELECT row FROM webhooks")]


def test_webhooks_are_those_that_the_old_ledger_had_with_their_secrets_and_pauses(home: Home) -> None:
    ledger = Ledger.open(home.path)
    for one in ("gone", "moved", "stays"):
        take(ledger, hook(one))
    ledger.close()
    backup(home.path, home.file, 0.0, silent, force=True)
    ledger = Ledger.open(home.path)
    for after in (RemoveWebhook("app", "gone"), hook("moved", "a"), hook("moved", "b"), hook("late")):
        take(ledger, after)
    for after in (PauseWebhook("app", "stays"), PauseWebhook("app", "late"), ResumeWebhook("app", "late")):
        take(ledger, after)
    take(ledger, RemoveWebhook("app", "late"))
    take(ledger, hook("late"))
    ledger.close()
    before = [msgspec.structs.replace(one, since=0) for one in webhooks_of(home)]
    home.restore()
    assert [msgspec.structs.replace(one, since=0) for one in webhooks_of(home)] == before
    assert [(one.name, one.generation, one.present, one.paused) for one in before] == [
        ("gone", 1, False, ""),
        ("late", 2, True, ""),
        ("moved", 3, True, ""),
        ("stays", 1, True, "person"),
    ]
    check_tables(home.path)


def test_how_far_a_webhook_has_come_survives_a_restore_and_a_rebuild(home: Home) -> None:
    ledger = Ledger.open(home.path)
    progress = WebhookProgress(
        "shop", ledger.epoch, ledger.head.position, owed=(OwedDelivery(1, "b", 2, 3, "timeout"),)
    )
    take(ledger, WebhookProgressed(progress))
    ledger.close()
    backup(home.path, home.file, 0.0, silent, force=True)
    home.restore()
    rebuild(home.path, silent)
    (saved,) = rows(home.path, "SELECT row FROM webhook_progress")
    assert msgspec.json.decode(saved[0], type=WebhookProgress) == progress
    assert home.kinds() == {}


def test_of_a_log_that_is_read_backwards_the_later_event_of_a_backend_counts(home: Home) -> None:
    ledger = Ledger.open(home.path)
    head = ledger.head.position
    for one in (added("a"), added("b"), RemoveBackend("app", "a"), added("b", ttl_s=60)):
        take(ledger, one)
    ledger.close()
    reading = salvage._Reading(Identity("l", "e"), Head(), silent)
    reading._read_backwards(raw(home.path), head)
    found = {one.name: one for one in reading.salvaged().backends}
    assert found == {"a": BackendRemoved("a", "person", "app"), "b": BackendAdded("b", added("b").url, "app", ttl_s=60)}


def test_of_a_log_that_is_read_backwards_webhooks_keep_their_order(home: Home) -> None:
    ledger = Ledger.open(home.path)
    head = ledger.head.position
    for one in (hook("a"), RemoveWebhook("app", "a"), hook("b")):
        take(ledger, one)
    ledger.close()
    reading = salvage._Reading(Identity("l", "e"), Head(), silent)
    reading._read_backwards(raw(home.path), head)
    found = [(type(one), one.name) for one in reading.salvaged().webhooks]
    assert found == [(WebhookAdded, "a"), (WebhookRemoved, "a"), (WebhookAdded, "b")]


def test_an_address_that_a_broken_log_makes_up_is_not_added(home: Home) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, added("gpu-7"))
    ledger.close()
    home.tamper("UPDATE events SET data = replace(data, 'http://', 'x://') WHERE kind = 'backend_added'")
    home.restore()
    assert backends_of(home) == []


def test_images_that_a_broken_log_makes_up_are_not_forgotten(home: Home) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, Forget("app", "batch-app-r1", (1,)))
    ledger.close()
    home.tamper("UPDATE events SET data = replace(data, '[1]', '[77]') WHERE kind = 'image_forgotten'")
    restored = home.restore()
    assert [line.kind for line in check_tables(home.path)[restored.position_before :]].count("image_forgotten") == 0


def test_of_a_batch_that_got_images_after_the_backup_those_that_it_had_are_forgotten(home: Home) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, Forget("app", "batch-app-r1", (1,)))
    ledger.close()
    home.tamper("UPDATE events SET data = replace(data, '[1]', '[1,77]') WHERE kind = 'image_forgotten'")
    restored = home.restore()
    assert restored.forgotten == 1
    assert [line.kind for line in check_tables(home.path)[restored.position_before :]].count("image_forgotten") == 1


# ---- the old one


def test_the_old_ledger_is_moved_aside_with_its_write_ahead_log(home: Home) -> None:
    ledger = Ledger.open(home.path)
    take(ledger, submission("later", quantity=7))
    for end in ("", "-wal", "-shm"):
        shutil.copy(f"{home.path}{end}", home.folder.parent / f"as-killed{end}")
    ledger.close()
    for end in ("", "-wal", "-shm"):
        shutil.copy(home.folder.parent / f"as-killed{end}", f"{home.path}{end}")
    restored = home.restore()
    assert rows(Path(restored.aside), "SELECT max(image) FROM images WHERE batch_id = 'batch-app-later'") == [(7,)]
    assert home.files() == {*OWN, Path(restored.aside).name}
    assert restored.lost == Lost(events=1, batches=1, images=7)


def test_a_broken_ledgers_write_ahead_log_never_gets_into_the_new_one(home: Home) -> None:
    overwrite(home.path, 0, 4096)
    wal = home.path.with_name("ledger.db-wal")
    wal.write_bytes(b"what it held")
    restored = home.restore()
    assert Path(restored.aside + "-wal").read_bytes() == b"what it held"
    assert not wal.exists()
    check_tables(home.path)


def test_a_live_ledger_is_refused(home: Home) -> None:
    ledger = Ledger.open(home.path)
    with pytest.raises(LedgerUnusable, match="Another daemon holds the ledger"):
        home.restore()
    ledger.close()


def test_a_ledger_that_somebody_reads_is_not_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace, "READERS_WAIT_S", 0.05)
    ledger = Ledger.open(home.path)
    reader = raw(home.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    take(ledger, submission("later"))
    ledger.close()
    with pytest.raises(LedgerUnusable, match="Another program reads"):
        home.restore()
    reader.close()
    assert home.next_number() == 7


def refused(home: Home, code: type[Exception], said: str, shelf: Shelf | None = None, **changed: Any) -> None:
    """What stood there stands there still, and nothing else does."""
    before, position = contents(home.folder), len(log_of(home.path))
    with pytest.raises(code, match=said):
        home.restore(shelf, **changed)
    after = contents(home.folder)
    assert len(log_of(home.path)) == position
    assert after.keys() == before.keys()
    assert after["ledger.db"] == before["ledger.db"]


def test_an_existing_ledger_is_replaced_only_if_told_so(home: Home) -> None:
    refused(home, Refused, "There is a ledger already.*--replace", replace=False)


def test_a_backup_that_is_not_whole_is_refused(home: Home) -> None:
    overwrite(home.file, home.file.read_bytes().index(b"prompt_finished"), 64)
    refused(home, LedgerUnusable, "is not whole")


@pytest.mark.parametrize("change", ["UPDATE events SET at = 7 WHERE position = 3", "DELETE FROM meta"])
def test_a_backup_that_was_changed_is_refused(home: Home, change: str) -> None:
    stranger = raw(home.file)
    sql = "SELECT sql FROM sqlite_schema WHERE name = 'events_are_never_changed'"
    trigger = stranger.execute(sql).fetchone()[0]
    stranger.execute("DROP TRIGGER events_are_never_changed")
    stranger.execute(change)
    stranger.execute(trigger)
    stranger.close()
    refused(home, LedgerUnusable, "is not whole")


def test_what_replay_made_is_no_backup(home: Home) -> None:
    home.file.unlink()
    replay(home.path, 5, home.file, silent)
    refused(home, LedgerUnusable, "lost its epoch")


def test_a_file_that_is_not_there_or_is_the_ledger_is_no_backup(home: Home) -> None:
    home.file.unlink()
    refused(home, Refused, "There is no file")
    home.file.symlink_to(home.path)
    refused(home, Refused, "is the ledger itself")


def test_a_store_that_does_not_answer_stops_it(home: Home) -> None:
    refused(
        home, Refused, "cannot say which numbers.*the disk is gone.*--without-stores", Shelf(problem="the disk is gone")
    )


def test_a_plugin_that_dies_stops_it(home: Home) -> None:
    shelf = Shelf()
    shelf.asked = None  # type: ignore[assignment]
    refused(home, Refused, "its plugin died: AttributeError", shelf)


def test_a_network_file_system_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfyledger.ledger.filesystem.type_of", lambda _: 0x6969)
    with pytest.raises(LedgerUnusable, match="NFS"):
        home.restore()


# ---- killed at each step


def test_killed_at_any_step_it_leaves_the_old_ledger_or_the_new_one(home: Home, tmp_path: Path) -> None:
    """And whichever it is, the same restore goes through afterwards."""
    home.use("later", quantity=7)
    old = log_of(home.path)
    seen, number = set[str](), 1
    while True:
        here = Home(home.copy_to(tmp_path / f"killed{number}" / "state").folder)
        shutil.copy(home.file, here.file)
        if not killed_at(here, number, lambda home: home.restore(Shelf(57))):
            break
        lines = check_tables(here.path)
        is_new = lines[-1].kind == "series_raised"
        seen.add("new" if is_new else "old")
        assert is_new or lines == old
        if number % 8 == 0 or is_new:
            here.restore(Shelf(57), now_ms=NOW_MS + 1_000)
            assert here.next_number() > 1_000
            names = {name for name in here.files() if not name.startswith("ledger.db.replaced-")}
            assert names == OWN
        number += 1
    assert seen == {"old", "new"}
    assert number > 8


def test_each_name_is_on_stable_storage_before_the_next_is_given(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a loss of power could keep the new ledger's name and lose that of the old one."""
    done: list[str] = []
    fsync, replace, link = os.fsync, os.replace, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("replace"), replace(*names)))
    monkeypatch.setattr(os, "link", lambda *names: (done.append("link"), link(*names)))
    home.restore()
    assert done[:5] == ["ledger.db.restoring", "link", "state", "replace", "state"]
    assert done[5] == home.folder.parent.name, "the folder may be new, and so those above it"


def test_what_a_killed_restore_left_is_no_second_name_of_a_ledger_in_use(home: Home) -> None:
    alias = home.path.with_name("ledger.db.replaced-20200101T000000Z")
    os.link(home.path, alias)
    restored = home.restore()
    assert not alias.exists()
    assert Path(restored.aside).exists()


def test_the_events_say_what_was_found(home: Home) -> None:
    home.use("later")
    home.restore(Shelf(57), margin=10)
    restored, *raised = (line for line in log_of(home.path) if line.kind in {"ledger_restored", "series_raised"})
    assert '"evidence":[{"store":"shelf","identity":"shelf:/there","highest":57},{"store":"old ledger"' in restored.data
    assert all('"reason":"restore"' in line.data for line in raised)
    assert restored.stream == "ledger"


class Doubting(Shelf):
    """A shelf on which numbers lie that no counter gave."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = Numbers()
        for number in numbers:
            self.numbers.add(number, f"x_{number}")

    async def highest_number(self, series: Series) -> int:
        return self.numbers.highest("shelf", series)


def test_a_number_far_above_those_that_were_given_stops_a_restore(home: Home) -> None:
    refused(home, Refused, r"x_20251122 is numbered far above", Doubting(1, 2, 3, 20251122))


def test_a_number_far_above_the_others_that_was_given_stops_no_restore(home: Home) -> None:
    """As after an import that took it, or after an earlier restore with a wide margin."""
    home.restore(margin=20_000)
    given = home.next_number()
    assert given > 20_000
    done = home.restore(Doubting(1, 2, 3, given), now_ms=NOW_MS + 60_000)
    assert [one.highest for one in done.evidence if one.store == "shelf"] == [given]
