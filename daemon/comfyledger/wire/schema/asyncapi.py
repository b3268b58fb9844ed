"""AsyncAPI 3.0 of the websocket: each request as an operation with its answers, and what comes unasked."""

from __future__ import annotations

from typing import Any, Final

from comfyledger.wire.answers import ANSWERS, RESULTS
from comfyledger.wire.requests import REQUESTS
from comfyledger.wire.requests.submitting import PROTOCOL
from comfyledger.wire.schema.definitions import COMPONENTS, Schema, as_components, definitions
from comfyledger.wire.schema.examples import example
from comfyledger.wire.schema.frames import frames, push_name, request_name, result_name

_CHANNEL: Final = {"$ref": "#/channels/ws"}
_ANSWERING: Final = ("error", "waiting")
_MESSAGES: Final = {
    **{name: request_name(name) for name in REQUESTS},
    **{f"{name}_result": result_name(name) for name in RESULTS},
    **{name: push_name(name) for name in ANSWERS},
}
"""Every message by its name in the document, with the name of its schema."""
_ABOUT: Final = """The websocket of comfyledger. Each request gets one answer, its result or an error, perhaps after
`waiting`. A subscription sends the events of the log, with their fields by kind, and on request steps and previews of
running prompts."""
_BEARER: Final = """`Authorization: Bearer TOKEN`. A browser offers the subprotocols `comfyledger` and `token.TOKEN`
instead."""


def asyncapi(version: str, host: str = "127.0.0.1:9831") -> dict[str, Any]:
    """The document. `version`: the daemon's; `host`: where it is reached, with the port."""
    schemas = as_components(definitions() | frames())
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "comfyledger", "version": version, "description": _words(_ABOUT), "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "servers": {
            "daemon": {
                "host": host,
                "protocol": "ws",
                "protocolVersion": str(PROTOCOL),
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "channels": {
            "ws": {
                "address": "/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _MESSAGES},
            }
        },
        "operations": {name: _request(name) for name in REQUESTS} | {"push": _push()},
        "components": {
            "messages": {name: _message(name, schema, schemas) for name, schema in _MESSAGES.items()},
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _words(_BEARER)}},
        },
    }


def _words(text: str) -> str:
    return " ".join(text.split())


def _of_channel(names: list[str]) -> list[Schema]:
    return [{"$ref": f"#/channels/ws/messages/{name}"} for name in names]


def _request(name: str) -> Schema:
    """A request, which the daemon receives, and what it may answer."""
    return {
        "action": "receive",
        "channel": _CHANNEL,
        "summary": _words(REQUESTS[name].__doc__ or ""),
        "messages": _of_channel([name]),
        "reply": {"channel": _CHANNEL, "messages": _of_channel([f"{name}_result", *_ANSWERING])},
    }


def _push() -> Schema:
    return {
        "action": "send",
        "channel": _CHANNEL,
        "summary": "What a subscription sends.",
        "messages": _of_channel([name for name in ANSWERS if name not in _ANSWERING]),
    }


def _message(name: str, schema: str, known: dict[str, Schema]) -> Schema:
    reference = {"$ref": COMPONENTS + schema}
    return {"name": name, "payload": reference, "examples": [{"payload": example(reference, known)}]}
