"""The AsyncAPI document of the websocket: complete, with references that resolve and examples that fit.

`make test-types` holds it against AsyncAPI's own schema, which comes from npm.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from comfyledger import wire
from comfyledger.wire.schema.asyncapi import asyncapi

DOCUMENT = asyncapi("0.1.0", "box.example:9831")
MESSAGES = DOCUMENT["components"]["messages"]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        part = list(part.values())
    for one in part if isinstance(part, list) else []:
        yield from references(one)


def test_every_reference_of_the_document_resolves() -> None:
    for reference in set(references(DOCUMENT)):
        root, *path = reference.split("/")
        assert root == "#"
        assert isinstance(functools.reduce(lambda part, key: part[key], path, DOCUMENT), dict)


def test_every_request_is_an_operation_with_its_result() -> None:
    operations = {name: one for name, one in DOCUMENT["operations"].items() if one["action"] == "receive"}
    assert [*operations] == [*wire.REQUESTS]
    for name, operation in operations.items():
        answers = [one["$ref"].rpartition("/")[2] for one in operation["reply"]["messages"]]
        assert answers == [f"{name}_result", "error", "waiting"]
        assert operation["summary"].endswith(".")


def test_what_comes_unasked_is_one_operation() -> None:
    pushed = [one["$ref"].rpartition("/")[2] for one in DOCUMENT["operations"]["push"]["messages"]]
    assert pushed == ["event", "progress", "preview", "subscription_ended"]


def test_the_server_is_where_the_reader_reached_it() -> None:
    assert DOCUMENT["servers"]["daemon"]["host"] == "box.example:9831"


@pytest.mark.parametrize("name", MESSAGES)
def test_the_example_of_a_message_fits_its_schema(name: str) -> None:
    (shown,) = MESSAGES[name]["examples"]
    checker = jsonschema.Draft7Validator({**MESSAGES[name]["payload"], "components": DOCUMENT["components"]})
    assert list(checker.iter_errors(shown["payload"])) == []
    frame = json.dumps(shown["payload"])
    if name in wire.REQUESTS:
        assert isinstance(wire.read_request(wire.read_asked(frame.encode())), wire.REQUESTS[name])
    elif name.endswith("_result"):
        request = wire.REQUESTS[name.removesuffix("_result")]
        assert isinstance(wire.read_result(request, wire.read_envelope(frame)), wire.RESULTS[wire.TYPE_OF[request]])
    else:
        assert isinstance(wire.read_answer(wire.read_envelope(frame)), wire.ANSWERS[name])
