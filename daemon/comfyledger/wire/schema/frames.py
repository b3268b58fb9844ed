"""The schemas of frames: envelopes with what is in them, by the side that sends them."""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.wire.answers import ANSWERS, RESULTS
from comfyledger.wire.requests import REQUESTS
from comfyledger.wire.schema.definitions import Schema, reference

_ID: Final[Schema] = {
    "description": "The client's own mark of a request; its answer repeats it. At most 128 characters.",
    "anyOf": [{"type": "string", "maxLength": 128}, {"type": "integer"}, {"type": "null"}],
    "examples": [1],
}


def request_name(name: str) -> str:
    """The name of the schema of a request's frame."""
    return f"{_capitals(name)}Request"


def result_name(name: str) -> str:
    """The name of the schema of the frame that answers a request."""
    return f"{_capitals(name)}Result"


def push_name(name: str) -> str:
    """The name of the schema of a frame that comes unasked, or of `error` and `waiting`."""
    return f"{_capitals(name)}Frame"


def _capitals(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


def frames() -> dict[str, Schema]:
    """Every frame by its name, both directions, and which result belongs to which request."""
    asked = {request_name(name): request_frame(name) for name in REQUESTS}
    results = {result_name(name): result_frame(name) for name in RESULTS}
    pushed = {push_name(name): push_frame(name) for name in ANSWERS}
    found = {
        **asked,
        **results,
        **pushed,
        "ClientFrame": {"description": "What a client sends.", "anyOf": list(map(reference, asked))},
        "ServerFrame": {"description": "What the daemon sends.", "anyOf": list(map(reference, [*pushed, *results]))},
        "Results": {
            "description": "The result of each request, by the type of the request.",
            "type": "object",
            "properties": {name: reference(answer.__name__) for name, answer in RESULTS.items()},
            "required": list(RESULTS),
            "additionalProperties": False,
        },
    }
    return {name: {"title": name} | frame for name, frame in found.items()}


def request_frame(name: str) -> Schema:
    """A frame of a client. It may leave out `data` where no field is required."""
    kind = REQUESTS[name]
    required = ["type", "data"] if any(field.required for field in msgspec.structs.fields(kind)) else ["type"]
    return _frame(name, kind, required) | {"additionalProperties": False}


def result_frame(name: str) -> Schema:
    """The frame that answers a request."""
    return _frame("result", RESULTS[name], ["type", "id", "data"])


def push_frame(name: str) -> Schema:
    """A frame that comes unasked, or `error` or `waiting`."""
    return _frame(name, ANSWERS[name], ["type", "id", "data"])


def _frame(name: str, kind: type, required: list[str]) -> Schema:
    properties = {"type": {"const": name}, "id": _ID, "data": reference(kind.__name__)}
    return {"type": "object", "properties": properties, "required": required}
