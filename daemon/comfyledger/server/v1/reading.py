"""What an HTTP request below `/v1` asks for: the message of its route, the label it is sent under, how long to wait."""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.server.answering import DEFAULT_LABEL
from comfyledger.server.tokens import Caller
from comfyledger.wire.requests.parts import Message
from comfyledger.wire.routes import CLIENT_HEADER, KEY_HEADER, WAIT_S_MAX, Route, read_query

PARAMETERS_MAX: Final = 64
HARD_LIMIT: Final = 8
"""A batch above this multiple of the limit is not read. A smaller one may repeat one that another limit accepted."""
BODY_S: Final = 30.0
"""How long a body may take to arrive."""
JSON: Final = "application/json"
TOKEN_NAMES: Final = frozenset({"token", "access_token", "api_key", "apikey", "key", "auth", "authorization"})
_EMPTY_OBJECT: Final = re.compile(r"\s*\{\s*\}\s*")


class Asked(NamedTuple):
    """A message, and the bytes by which a repeat of it is known."""

    message: Message
    raw: bytes


class Body(NamedTuple):
    """The JSON of a body with the fields of path and headers, and the size of what was sent."""

    raw: bytes
    size_bytes: int


class _WithId(msgspec.Struct):
    request_id: str | None = None


_with_id: Final = msgspec.json.Decoder(_WithId)


def read_get(request: web.Request, route: Route) -> Message:
    """The message of a GET or a DELETE. Raises Refused(unknown_field, invalid_field)."""
    return read_query(route, _path_fields(request, route), _parameters(request, route))


async def read_body(request: web.Request, route: Route, bytes_max: int) -> Body:
    """The body of a POST or PUT, which may be too large if it could repeat an earlier request.

    Raises Refused(frame_too_large, content_type, timeout, unknown_field, invalid_field).
    """
    for name, _ in _parameters(request, route):
        text = f"A {route.method} takes its fields in the body."
        raise Refused("unknown_field", text, hint="Send the fields in the body, as JSON.", path=f"query.{name[:64]}")
    hard_max = bytes_max * HARD_LIMIT if route.request is wire.SubmitBatch else bytes_max
    return body_of(request, route, await _read_bytes(request, bytes_max, hard_max))


async def read_json(request: web.Request, bytes_max: int) -> bytes:
    """The body of a POST that is no request of the websocket. Raises Refused as `read_body` does."""
    for name in request.query if "?" in request.raw_path else ():
        text = f"There is no parameter {name[:64]!r}."
        raise Refused("unknown_field", text, hint="Send the fields in the body, as JSON.", path=f"query.{name[:64]}")
    return await _read_bytes(request, bytes_max, bytes_max)


def body_of(request: web.Request, route: Route, body: bytes) -> Body:
    """A body with the fields of path and headers. Raises Refused(invalid_field)."""
    given = {route.renamed.get(name, name): request.match_info[name] for name in route.in_path}
    if route.request is wire.SubmitBatch:
        given |= _request_id(request, body)
    return Body(_with_fields(body, given), len(body))


def read_post(route: Route, body: Body, bytes_max: int) -> Asked:
    """The message of a POST or PUT, as strict as a frame. Raises Refused."""
    if body.size_bytes > bytes_max:
        raise _too_large(bytes_max)
    envelope = wire.read_body(route.kind, body.raw)
    return Asked(wire.read_request(envelope), bytes(envelope.data))


def _path_fields(request: web.Request, route: Route) -> dict[str, str]:
    return {name: request.match_info[name] for name in route.in_path}


def _parameters(request: web.Request, route: Route) -> list[tuple[str, str]]:
    """The parameters of the query besides `wait`. Raises Refused(invalid_field)."""
    query = request.raw_path.partition("?")[2]
    if not query:
        return []
    try:
        found = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        hint = f"Send at most {PARAMETERS_MAX} parameters, percent-encoded as UTF-8."
        raise Refused("invalid_field", "The query cannot be read.", hint=hint, path="query") from error
    if route.waits:
        if sum(name == "wait" for name, _ in found) > 1:
            text = "The parameter 'wait' occurs twice."
            raise Refused("invalid_field", text, hint="Give each parameter once.", path="query.wait")
        found = [(name, value) for name, value in found if name != "wait"]
    return found


def read_wait(request: web.Request) -> float | None:
    """How long to wait, in seconds; None without `wait`. Raises Refused(invalid_field)."""
    text = request.query.get("wait") if "?" in request.raw_path else None
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= WAIT_S_MAX:
        hint = f"Give whole seconds, 1 to {WAIT_S_MAX}."
        raise Refused("invalid_field", f"`wait` is {text[:64]!r}.", hint=hint, path="query.wait")
    return float(text)


def label_of(request: web.Request, caller: Caller) -> str:
    """The label that a request is sent under: the token's own, or that of the header. Raises Refused(invalid_field)."""
    given = header_of(request, CLIENT_HEADER)
    named = DEFAULT_LABEL if given is None else given
    if not 1 <= len(named) <= 64 or not named.isprintable():
        text, hint = "The name of the client cannot be used.", "Give 1 to 64 printable characters."
        raise Refused("invalid_field", text, hint=hint, path=f"header.{CLIENT_HEADER}")
    return caller.label or named


def header_of(request: web.Request, name: str) -> str | None:
    """A header of ours; None without one. Raises Refused(invalid_field) for two: a proxy may take the other one."""
    given = request.headers.getall(name, ())
    if len(given) > 1:
        text = f"The header {name} occurs {len(given)} times."
        raise Refused("invalid_field", text, hint="Send the header once.", path=f"header.{name}")
    return given[0] if given else None


def check_url(request: web.Request) -> None:
    """Raises Refused(not_utf8); Refused(unauthorized) for a token in the query, where logs and histories keep it."""
    try:
        request.raw_path.encode()
    except UnicodeEncodeError:
        hint = "Percent-encode every character that is not ASCII."
        raise Refused("not_utf8", "The URL is not UTF-8.", hint=hint) from None
    for name in request.query if "?" in request.raw_path else ():
        if name.lower().replace("-", "_") in TOKEN_NAMES:
            hint = "Send `Authorization: Bearer TOKEN`. URLs are logged, so run `comfyledger token rotate LABEL`."
            raise Refused("unauthorized", "A token must not be in a URL.", hint=hint, path=f"query.{name[:64]}")


async def _read_bytes(request: web.Request, bytes_max: int, hard_max: int) -> bytes:
    """The bytes of a body, at most `hard_max`. Raises Refused(frame_too_large, content_type, timeout)."""
    if (request.content_length or 0) > hard_max:
        raise _too_large(bytes_max)
    if request.can_read_body:
        _check_type(request)
    if request.content_length is not None and request.content.is_eof():  # it came with the headers
        return request.content.read_nowait() or b"{}"
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > hard_max:
                    raise _too_large(bytes_max)
    except TimeoutError:
        text = f"The body did not arrive within {BODY_S:.0f} s."
        raise Refused("timeout", text, hint="Send the body faster, or in smaller requests.") from None
    return bytes(body) or b"{}"


def _check_type(request: web.Request) -> None:
    """Without this, a page of another site could send a body as plain text, for which no browser asks first."""
    given = request.headers.get("Content-Type", "missing")
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if given != JSON and (request.content_type != JSON or (request.charset or "utf-8").lower() != "utf-8"):
        text = f"The type of the body is {given[:100]!r}."
        hint = "Send `Content-Type: application/json`, in UTF-8. With curl, use --json instead of -d."
        raise Refused("content_type", text, hint=hint, path="header.Content-Type")
    if coding != "identity":
        text = f"The body is compressed: {coding[:100]!r}."
        raise Refused("content_type", text, hint="Send the body uncompressed.", path="header.Content-Encoding")


def _too_large(bytes_max: int) -> Refused:
    hint = "Configure large workflows as a file, or raise [door] frame_bytes_max."
    return Refused("frame_too_large", f"A body has at most {bytes_max} bytes.", hint=hint)


def _request_id(request: web.Request, body: bytes) -> dict[str, str]:
    """The request_id from the header, if the body has none. Raises Refused(invalid_field) if they differ."""
    key = header_of(request, KEY_HEADER)
    if key is None:
        return {}
    if not key.isprintable():
        text = "The header Idempotency-Key is not printable text in UTF-8."
        raise Refused("invalid_field", text, hint="Send a UUID, for example.", path=f"header.{KEY_HEADER}")
    try:
        named = _with_id.decode(body).request_id
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}  # whoever reads the body says what is wrong with it
    if named is None:
        return {"request_id": key}
    if named != key:
        hint = "Send one of the two, or the same value in both."
        text = "The header Idempotency-Key and the field request_id have different values."
        raise Refused("invalid_field", text, hint=hint, path=f"header.{KEY_HEADER}")
    return {}


def _with_fields(body: bytes, given: dict[str, str]) -> bytes:
    """A JSON object with further fields in front. What is no object stays as it is."""
    if not given:
        return body
    text = body.decode(errors="surrogateescape").removeprefix("\ufeff").lstrip()
    if not text.startswith("{"):
        return body
    fields = msgspec.json.encode(given).decode()
    joined = fields if _EMPTY_OBJECT.fullmatch(text) else f"{fields[:-1]},{text[1:]}"
    return joined.encode(errors="surrogateescape")
