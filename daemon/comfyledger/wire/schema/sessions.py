"""The part of the OpenAPI document that is about sessions. They are no requests of the websocket."""

from __future__ import annotations

from typing import Any, Final

from comfyledger.wire.schema.definitions import COMPONENTS
from comfyledger.wire.sessions import LINKS, SESSIONS, BeginSession, SessionBegun, SessionLink

JSON: Final = "application/json"
SESSION_TYPES: Final = (BeginSession, SessionBegun, SessionLink)
_BEGIN: Final = (
    "With a token in the header, or with a one-time code in the body. The key stands for the token for 12 hours. "
    "It ends earlier with the token, and with the key of signed addresses."
)
_LINK: Final = "The code in it is kept for 60 seconds, works once, and begins a session of the token that asked for it."


def session_paths() -> dict[str, dict[str, Any]]:
    """The two operations, by their paths."""
    body = {"required": False, "content": {JSON: {"schema": _ref(BeginSession), "example": {"base_path": "/ledger"}}}}
    begin = {"requestBody": body, "security": [{"token": []}, {}]}
    return {
        SESSIONS: {
            "post": _operation("begin_session", "Begin a session of the web page.", _BEGIN, SessionBegun) | begin
        },
        LINKS: {"post": _operation("make_session_link", "Make a link that opens the web page.", _LINK, SessionLink)},
    }


def _operation(name: str, summary: str, text: str, answer: type) -> dict[str, Any]:
    content = {JSON: {"schema": _ref(answer)}}
    return {
        "operationId": name,
        "tags": ["sessions"],
        "summary": summary,
        "description": text,
        "parameters": [],
        "responses": {
            "201": {"description": (answer.__doc__ or "").strip(), "content": content},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": COMPONENTS + kind.__name__}
