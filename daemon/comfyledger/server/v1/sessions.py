"""`/v1/sessions`: begin a session of the web page with a token or a one-time code, and make a link with such a code."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.server.access import CALLER, caller_of
from comfyledger.server.app_keys import CONNECTIONS, CONTEXT
from comfyledger.server.tokens import Caller
from comfyledger.server.v1.guard import expect
from comfyledger.server.v1.handlers import json_response
from comfyledger.server.v1.reading import check_url, read_json
from comfyledger.wire.sessions import LINKS, SESSIONS, BeginSession, SessionBegun, SessionLink

BODY_BYTES_MAX = 4_096

T = TypeVar("T")


def routes() -> list[web.RouteDef]:
    return [
        web.post(SESSIONS, _begin, expect_handler=expect),
        web.post(LINKS, _link, expect_handler=expect),
    ]


async def _begin(request: web.Request) -> web.Response:
    check_url(request)
    asked = wire.read_strict(await read_json(request, BODY_BYTES_MAX), BeginSession)
    caller = _of_code(request, asked.code) if asked.code else _of_token(request)
    key, expires_at_ms = request.app[CONTEXT].access.sessions.begin(caller, asked.base_path)
    return json_response(SessionBegun(key, expires_at_ms, caller.label, caller.right, caller.read_all), 201)


def _of_token(request: web.Request) -> Caller:
    """Raises Refused(unauthorized, session_expired)."""
    caller = caller_of(request)
    request.app[CONTEXT].access.check_still(caller)
    return caller


def _of_code(request: web.Request, code: str) -> Caller:
    """Raises Refused(code_invalid, invalid_field). With a token too, nobody could tell whose session is wanted."""
    context = request.app[CONTEXT]
    if "Authorization" in request.headers:
        text = "The request has a token and a one-time code."
        raise Refused("invalid_field", text, hint="Send one of the two.", path="$.code")
    caller = context.access.sessions.redeem(code)
    request[CALLER] = caller
    request.app[CONNECTIONS].authenticate(request.protocol)
    return caller


async def _link(request: web.Request) -> web.Response:
    check_url(request)
    caller = _of_token(request)
    wire.read_strict(await read_json(request, BODY_BYTES_MAX), _Nothing)
    context = request.app[CONTEXT]
    base = context.file_urls.base_of(request)
    if not base:
        hint = "Set [door] port, and remove unix_path, for a page in a browser."
        raise Refused("page_unreachable", hint=hint)
    code, expires_at_ms = context.access.sessions.make_code(caller)
    return json_response(SessionLink(f"{base}/#code={code}", expires_at_ms), 201)


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body without fields."""
