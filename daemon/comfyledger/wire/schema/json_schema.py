"""JSON Schema (2020-12) of every frame, both ways. Its root reaches every type, as tools that make types need it."""

from __future__ import annotations

from typing import Any, Final

from comfyledger.core.events import KINDS
from comfyledger.wire.answers import ANSWERS, RESULTS
from comfyledger.wire.requests import REQUESTS
from comfyledger.wire.requests.submitting import PROTOCOL
from comfyledger.wire.schema.definitions import Schema, definitions, event_schema, reference

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ROOTS: Final = {"client": "ClientFrame", "server": "ServerFrame", "results": "Results"}
_ID: Final[Schema] = {
    "description": "The client's own mark of a request; its answer repeats it. At most 128 characters.",
    "anyOf": [{"type": "string", "maxLength": 128}, {"type": "integer"}, {"type": "null"}],
}


def json_schema() -> dict[str, Any]:
    """The document. `requests`, `results`, `pushes` and `events` say which type belongs to which name."""
    found = definitions()
    return {
        "$schema": DIALECT,
        "title": "Wire",
        "description": "All that goes over comfyledger's websocket: the frames of both sides, and the result of each "
        "request. A single frame is valid under `#/$defs/ClientFrame` or `#/$defs/ServerFrame`.",
        "protocol": PROTOCOL,
        "type": "object",
        "properties": {name: reference(kind) for name, kind in _ROOTS.items()},
        "required": list(_ROOTS),
        "additionalProperties": False,
        "requests": {name: _request(name, found) for name in REQUESTS},
        "results": {name: _sent("result", reference(answer.__name__)) for name, answer in RESULTS.items()},
        "pushes": {name: _sent(name, reference(answer.__name__)) for name, answer in ANSWERS.items()},
        "events": {kind: reference(event_schema(kind)) for kind in KINDS},
        "$defs": found | _frames(found),
    }


def _frames(found: dict[str, Schema]) -> dict[str, Schema]:
    """Every frame by its name, both directions, and which result belongs to which request."""
    asked = {f"{_named(name)}Request": _request(name, found) for name in REQUESTS}
    pushed = {f"{_named(name)}Frame": _sent(name, reference(answer.__name__)) for name, answer in ANSWERS.items()}
    results = {name: reference(answer.__name__) for name, answer in RESULTS.items()}
    result = {"anyOf": [reference(answer.__name__) for answer in dict.fromkeys(RESULTS.values())]}
    pushed["ResultFrame"] = _sent("result", {"description": "It depends on the request: see `Results`."} | result)
    frames = {
        **asked,
        **pushed,
        "ClientFrame": {"description": "What a client sends.", "anyOf": list(map(reference, asked))},
        "ServerFrame": {"description": "What the daemon sends.", "anyOf": list(map(reference, pushed))},
        "Results": {
            "description": "The result of each request, by the type of the request.",
            "type": "object",
            "properties": results,
            "required": list(results),
            "additionalProperties": False,
        },
    }
    return {name: {"title": name} | frame for name, frame in frames.items()}


def _named(kind: str) -> str:
    return "".join(map(str.capitalize, kind.split("_")))


def _request(name: str, found: dict[str, Schema]) -> Schema:
    """A frame of a client. It may leave out `data` where no field is required."""
    kind = REQUESTS[name].__name__
    required = ["type", "data"] if found[kind]["required"] else ["type"]
    return _frame(name, reference(kind), required) | {"additionalProperties": False}


def _sent(name: str, data: Schema) -> Schema:
    return _frame(name, data, ["type", "id", "data"])


def _frame(kind: str, data: Schema, required: list[str]) -> Schema:
    properties = {"type": {"const": kind}, "id": _ID, "data": data}
    return {"type": "object", "properties": properties, "required": required}
