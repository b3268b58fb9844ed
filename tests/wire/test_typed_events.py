"""Events as the clients read them: in the type of their kind, whatever the version of the daemon that sent them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from comfyledger import wire
from comfyledger.core import events
from support.old_ledger import Release, unpack

BATCH = "01JD0000000000000000000001"
UPLOADED = {"batch_id": BATCH, "image": 2, "name": "a/b_2", "store": "folder", "url": "file:///b_2.png"}
PLACE = {"position": 7, "at_ms": 5, "stream": BATCH}


def read(kind: str, fields: dict[str, Any]) -> wire.LoggedEvent:
    data = {"subscription": "s", "epoch": "e", **PLACE, "kind": kind, "data": fields}
    found = wire.read_answer(wire.read_envelope(wire.frame("event", data)))
    assert isinstance(found, wire.LoggedEvent)
    return found


def test_an_event_has_the_type_of_its_kind() -> None:
    event = read("image_uploaded", UPLOADED)
    assert event.data == events.ImageUploaded(BATCH, 2, "a/b_2", "folder", "file:///b_2.png")
    match event.data:
        case events.ImageUploaded(image=image, url=url):
            assert (image, url) == (2, "file:///b_2.png")
        case _:
            pytest.fail("the kind is not matched")


@pytest.mark.parametrize("kind", [wire.LoggedEvent, wire.PastEvent, wire.StreamedEvent])
def test_events_are_typed_wherever_they_come_from(kind: Any) -> None:
    one = PLACE | {"kind": "image_uploaded", "data": UPLOADED, "subscription": "s", "epoch": "e"}
    assert msgspec.json.decode(json.dumps(one), type=kind).data == read("image_uploaded", UPLOADED).data


def test_a_field_of_a_newer_daemon_is_ignored_and_still_in_the_raw_fields() -> None:
    event = read("image_uploaded", UPLOADED | {"mood": "blue"})
    assert event.data == read("image_uploaded", UPLOADED).data
    assert json.loads(bytes(event.raw))["mood"] == "blue"


def test_a_kind_of_a_newer_daemon_comes_as_its_plain_fields() -> None:
    event = read("image_dreamt", {"batch_id": BATCH, "colours": ["blue"]})
    assert event.data == wire.UnknownEvent("image_dreamt", {"batch_id": BATCH, "colours": ["blue"]})
    assert json.loads(bytes(event.data)) == {"batch_id": BATCH, "colours": ["blue"]}


def test_a_known_kind_with_a_value_of_a_newer_daemon_comes_as_its_plain_fields() -> None:
    fields = UPLOADED | {"image": "the second"}
    assert read("image_uploaded", fields).data == wire.UnknownEvent("image_uploaded", fields)


def test_what_was_written_for_raw_data_reads_typed_data() -> None:
    assert json.loads(bytes(read("image_uploaded", UPLOADED).data)) == UPLOADED


@pytest.mark.parametrize("release", ["ac55d0a", *get_args(Release)])
def test_events_of_old_releases_are_read_as_they_were_written(release: Any, tmp_path: Path) -> None:
    """They are sent as they are in the log, in their old schema."""
    unpack(tmp_path, release, output=False)
    (path,) = tmp_path.rglob("ledger.db")
    with contextlib.closing(sqlite3.connect(path)) as ledger:
        lines = ledger.execute("SELECT kind, data FROM events").fetchall()
    assert len(lines) > 10
    for kind, data in lines:
        assert isinstance(read(kind, json.loads(data)).data, events.KINDS[kind]), (kind, data)
