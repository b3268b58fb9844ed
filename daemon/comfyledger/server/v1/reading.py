"""What an HTTP request below `/v1` asks for: the message of its route, the label it is sent under, how long to wait."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.server.tokens import Caller
from comfyledger.wire.requests.parts import Message
from comfyledger.wire.routes import BATCH, BATCHES, Route, read_query

DEFAULT_LABEL: Final = "default"
CLIENT_HEADER: Final = "Comfyledger-Client"
"""Names the client, as `hello` does on the websocket, if its token has no label."""
KEY_HEADER: Final = "Idempotency-Key"
WAIT_S_MAX: Final = 600
TOKEN_NAMES: Final = frozenset({"token", "access_token", "api_key", "apikey", "key", "auth", "authorization"})
_EMPTY_OBJECT: Final = re.compile(r"\s*\{\s*\}\s*")


class Asked(NamedTuple):
    """A message, and the bytes by which a repeat of it is known."""

    message: Message
    raw: bytes


class _WithId(msgspec.Struct):
    request_id: str | None = None


_with_id: Final = msgspec.json.Decoder(_WithId)


async def read_request(request: web.Request, route: Route, bytes_max: int) -> Asked:
    """The message of a request. Raises Refused."""
    check_no_token(request)
    path = {name: request.match_info[name] for name in route.in_path}
    query = [(name, value) for name, value in request.query.items() if name != "wait" or not takes_wait(route)]
    if route.method == "GET":
        return Asked(read_query(route, path, query), b"")
    if query:
        text = "A POST takes its fields in the body."
        raise Refused("unknown_field", text, hint="Send them as JSON.", path=f"query.{query[0][0][:64]}")
    given = {route.renamed.get(name, name): value for name, value in path.items()}
    body = await read_bytes(request, bytes_max)
    if route.request is wire.SubmitBatch:
        given |= _request_id(request, body)
    raw = _with_fields(body, given)
    return Asked(wire.read_body(route.request, raw), raw)


def takes_wait(route: Route) -> bool:
    """Whether the route waits for a batch if the query says so."""
    return route.path in {BATCH, BATCHES} and (route.method, route.path) != ("GET", BATCHES)


def read_wait(request: web.Request) -> float | None:
    """How long to wait, in seconds; None without `wait`. Raises Refused(invalid_field)."""
    text = request.query.get("wait")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= WAIT_S_MAX:
        hint = f"Give whole seconds, 1 to {WAIT_S_MAX}."
        raise Refused("invalid_field", f"`wait` is {text[:64]!r}.", hint=hint, path="query.wait")
    return float(text)


def label_of(request: web.Request, caller: Caller) -> str:
    """The label that a request is sent under: the token's own, or that of the header. Raises Refused(invalid_field)."""
    named = request.headers.get(CLIENT_HEADER, DEFAULT_LABEL)
    if not 1 <= len(named) <= 64 or not named.isprintable():
        text, hint = "The name of the client cannot be used.", "Give 1 to 64 printable characters."
        raise Refused("invalid_field", text, hint=hint, path=f"header.{CLIENT_HEADER}")
    return caller.label or named


def check_no_token(request: web.Request) -> None:
    """Raises Refused(unauthorized) for a token in the query, where logs and histories keep it."""
    for name in request.query:
        if name.lower().replace("-", "_") in TOKEN_NAMES:
            hint = "Send `Authorization: Bearer TOKEN`, and give the token a new value: this one is in logs now."
            raise Refused("unauthorized", "A token does not belong into a URL.", hint=hint, path=f"query.{name[:64]}")


async def read_bytes(request: web.Request, bytes_max: int) -> bytes:
    """The JSON body. Raises Refused(frame_too_large, content_type)."""
    length = request.content_length
    if length is not None and length > bytes_max:
        raise _too_large(bytes_max)
    if length != 0 and request.can_read_body and request.content_type != "application/json":
        text = f"The body is {request.content_type[:100]!r}."
        raise Refused("content_type", text, hint="Send `Content-Type: application/json`.", path="header.Content-Type")
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body) or b"{}"


def _too_large(bytes_max: int) -> Refused:
    hint = "Configure large workflows as a file, or raise [door] frame_bytes_max."
    return Refused("frame_too_large", f"A body has at most {bytes_max} bytes.", hint=hint)


def _request_id(request: web.Request, body: bytes) -> dict[str, str]:
    """The request_id from the header, if the body has none. Raises Refused(invalid_field) if they differ."""
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return {}
    try:
        named = _with_id.decode(body).request_id
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}  # whoever reads the body says what is wrong with it
    if named is None:
        return {"request_id": key}
    if named != key:
        hint = "Send one of the two, or the same value in both."
        text = "The header and the body name different requests."
        raise Refused("invalid_field", text, hint=hint, path=f"header.{KEY_HEADER}")
    return {}


def _with_fields(body: bytes, given: dict[str, str]) -> bytes:
    """A JSON object with further fields in front. What is no object stays as it is."""
    text = body.decode(errors="surrogateescape").removeprefix("\ufeff").lstrip()
    if not given or not text.startswith("{"):
        return body
    fields = msgspec.json.encode(given).decode()
    joined = fields if _EMPTY_OBJECT.fullmatch(text) else f"{fields[:-1]},{text[1:]}"
    return joined.encode(errors="surrogateescape")
