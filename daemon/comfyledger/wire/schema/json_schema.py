"""JSON Schema (2020-12) of every frame, both ways. Its root reaches every type, as tools that make types need it."""

from __future__ import annotations

from typing import Any, Final

from comfyledger.core.events import KINDS
from comfyledger.wire.answers import ANSWERS, RESULTS
from comfyledger.wire.requests import REQUESTS
from comfyledger.wire.requests.submitting import PROTOCOL
from comfyledger.wire.schema.definitions import definitions, event_schema, reference
from comfyledger.wire.schema.frames import frames, push_frame, request_frame, result_frame

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ROOTS: Final = {"client": "ClientFrame", "server": "ServerFrame", "results": "Results"}


def json_schema() -> dict[str, Any]:
    """The document. `requests`, `results`, `pushes` and `events` say which type belongs to which name."""
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
        "requests": {name: request_frame(name) for name in REQUESTS},
        "results": {name: result_frame(name) for name in RESULTS},
        "pushes": {name: push_frame(name) for name in ANSWERS},
        "events": {kind: reference(event_schema(kind)) for kind in KINDS},
        "$defs": definitions() | frames(),
    }
