"""The part of the OpenAPI document that is about zips. They are no requests of the websocket."""

from __future__ import annotations

from typing import Any, Final

from comfyledger.wire.schema.definitions import COMPONENTS
from comfyledger.wire.zips import ZIP, ZIPS, ZipAsked, ZipReady

JSON: Final = "application/json"
ZIP_TYPES: Final = (ZipAsked, ZipReady)
_ASK: Final = (
    "The address works for ten minutes, as often as it is used, while the token holds and the daemon runs. "
    "An image that does not exist, or that the token may not see, refuses the request."
)
_READ: Final = (
    "The files have the public ids of their images as names. A file that cannot be had is named in `MISSING.txt` "
    "with the reason. Forgotten images are left out."
)
_ID: Final = "From the address that the request for the zip was answered with."


def zip_paths() -> dict[str, dict[str, Any]]:
    """The two operations, by their paths."""
    example = {"images": ["01M82DA9EJBQZAAZJR4D2RM95D/1"]}
    answer = {"description": (ZipReady.__doc__ or "").strip(), "content": {JSON: {"schema": _ref(ZipReady)}}}
    ask = {
        "operationId": "make_zip",
        "tags": ["images"],
        "summary": "Get the address of a zip of images",
        "description": _ASK,
        "parameters": [],
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref(ZipAsked), "example": example}}},
        "responses": {"201": answer, "default": {"$ref": "#/components/responses/Problem"}},
    }
    read = {
        "operationId": "get_zip",
        "tags": ["images"],
        "summary": "Get the files of images as a zip",
        "description": _READ,
        "security": [{}],
        "parameters": [_given("path", "zip"), _given("query", "expires"), _given("query", "signature")],
        "responses": {
            "200": {"description": "The zip, as it is made.", "content": {"application/zip": {}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    return {ZIPS: {"post": ask}, ZIP: {"get": read}}


def _given(place: str, name: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "description": _ID, "schema": {"type": "string"}}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": COMPONENTS + kind.__name__}
