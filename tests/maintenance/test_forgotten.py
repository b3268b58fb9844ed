"""An audit takes the absence of what was forgotten as right, and its presence as wrong."""

from __future__ import annotations

import shutil

import pytest

from comfyledger.core.commands import Forget
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import as_before_lists, raw
from support.ledger_on_disk import Place, rows, take_group

R1 = "batch-app-r1"


@pytest.fixture
def forgotten(place: Place) -> Place:
    """The batch of three stored images is forgotten; its files are still in the spool."""
    ledger = Ledger.open(place.path)
    take_group(ledger, Forget("cli", R1))
    ledger.close()
    return place


def test_what_was_forgotten_and_is_gone_is_right(forgotten: Place) -> None:
    shutil.rmtree(forgotten.spool / R1)
    assert forgotten.kinds() == {}


def test_a_forgotten_file_that_is_still_there_is_found(forgotten: Place) -> None:
    found = forgotten.kinds()
    assert set(found) == {"spool_foreign"}
    assert sorted(found["spool_foreign"]) == [str(forgotten.spool / R1 / f"{index}.png") for index in (1, 2, 3)]


def test_an_erased_text_that_is_back_is_found(forgotten: Place, filled: Place) -> None:
    """From an older copy of the ledger, as somebody may bring it back who means well."""
    shutil.rmtree(forgotten.spool / R1)
    (digest,) = rows(filled.path, "SELECT digest FROM blobs WHERE key = ''")[0]
    forgotten.tamper(
        f"ATTACH '{filled.path}' AS older",
        f"INSERT INTO blobs SELECT * FROM older.blobs WHERE digest = '{digest}'",
        "DETACH older",
    )
    assert forgotten.kinds() == {"blob_foreign": [f"blob {digest}"]}


def test_something_written_into_the_room_of_an_erased_text_is_found(forgotten: Place) -> None:
    shutil.rmtree(forgotten.spool / R1)
    forgotten.tamper("UPDATE blobs SET content = x'41' WHERE digest LIKE 'erased:%'")
    assert set(forgotten.kinds()) == {"blob_changed"}


def test_a_ledger_of_an_older_version_is_whole_without_newer_tables(place: Place) -> None:
    as_before_lists(place.path)
    connection = raw(place.path)
    schema.set_meta(connection, "schema_digest", schema.schema_digest(connection))
    connection.close()
    assert place.kinds() == {}


def test_a_text_that_was_erased_without_an_event_is_missed(place: Place) -> None:
    place.tamper("UPDATE blobs SET digest = 'erased:x', content = x'00', salt = x'00' WHERE key = ''")
    assert set(place.kinds()) == {"blob_missing"}
