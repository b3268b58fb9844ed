"""The JSON Schema of the wire: valid, complete, and true of every frame that the documents show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from comfyledger import wire
from comfyledger.core.events import KINDS
from comfyledger.errors import CODES
from comfyledger.wire.schema.json_schema import json_schema
from support.documents import ROOT, WIRE, blocks, conversation

SCHEMA = json_schema()
DEFS = SCHEMA["$defs"]


def referred(schema: Any) -> Iterator[str]:
    """The names of the definitions that a schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].removeprefix("#/$defs/")
        for part in schema.values():
            yield from referred(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from referred(part)


def checker(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": DEFS})


def test_the_schema_is_valid_json_schema() -> None:
    rules = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    assert list(rules.iter_errors(SCHEMA)) == []


def test_the_root_reaches_every_definition() -> None:
    reached: set[str] = set()
    waiting = set(referred(SCHEMA["properties"]))
    while waiting:
        reached |= waiting
        waiting = {name for one in waiting for name in referred(DEFS[one])} - reached
    assert reached == set(DEFS)


def test_every_message_and_every_kind_of_event_has_its_place() -> None:
    assert [*SCHEMA["requests"]] == [*wire.REQUESTS]
    assert [*SCHEMA["results"]] == [*DEFS["Results"]["properties"]] == [*wire.RESULTS]
    assert [*SCHEMA["pushes"]] == [*wire.ANSWERS]
    assert [*SCHEMA["events"]] == [*KINDS]
    assert [one["properties"]["kind"]["const"] for one in DEFS["EventOfKind"]["anyOf"]] == [*KINDS]


def test_the_code_of_an_error_is_one_of_the_codes() -> None:
    assert DEFS["ErrorCode"]["enum"] == [*CODES]
    assert set(referred(DEFS["ErrorInfo"]["properties"]["code"])) == {"ErrorCode"}


def test_every_frame_of_the_documents_fits_its_side() -> None:
    for text in [body for _, body in blocks(WIRE, "json")] + [text for _, text in conversation()]:
        frame = json.loads(text)
        sides = ("ClientFrame", "ServerFrame") if frame["type"] in wire.REQUESTS else ("ServerFrame", "ClientFrame")
        checker(sides[0]).validate(frame)
        assert not checker(sides[1]).is_valid(frame), text


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "submit_batch", "id": 1, "data": {"username": "Areg", "character": "Opal Fever"}},
        {"type": "submit_batch", "data": {"request_id": "r", "username": "A", "character": "O", "quantty": 1}},
        {"type": "list_batches", "id": 1, "data": {"limit": 501}},
        {"type": "server_info", "id": 1, "dta": {}},
        {"type": "submit_bacth", "id": 1, "data": {}},
    ],
)
def test_a_wrong_request_does_not_fit(frame: dict[str, Any]) -> None:
    assert not checker("ClientFrame").is_valid(frame)


def test_an_event_has_the_fields_of_its_kind() -> None:
    place = {"position": 9, "at_ms": 0, "stream": "s"}
    settled = {"batch_id": "b", "stored": 1, "parked": 0, "failed": 0, "cancelled": 0}
    assert checker("PastEvent").is_valid(place | {"kind": "batch_settled", "data": settled})
    assert not checker("PastEvent").is_valid(place | {"kind": "batch_cancelled", "data": settled})


def test_the_lock_file_of_the_type_tools_names_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "types" / "package-lock.json").read_text("utf-8"))
    packages = [one for name, one in lock["packages"].items() if name]
    assert packages
    assert [one for one in packages if "resolved" in one or "integrity" not in one] == []
