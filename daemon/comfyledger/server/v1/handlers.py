"""HTTP below `/v1`: the requests of the websocket as routes, by the same code.

Each handler reads the request, has it answered as a websocket has it, and writes the answer as JSON. A refusal becomes
problem details. (RFC 9457)
"""

from __future__ import annotations

import functools
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from comfyledger import crash_points, wire
from comfyledger.errors import Refused
from comfyledger.server import answering
from comfyledger.server.access import caller_of
from comfyledger.server.app_keys import CONTEXT, Context
from comfyledger.server.tokens import Caller
from comfyledger.server.v1.events import stream, wants_stream
from comfyledger.server.v1.guard import ROUTE, expect
from comfyledger.server.v1.reading import (
    JSON,
    check_url,
    label_of,
    read_body,
    read_get,
    read_post,
    read_wait,
)
from comfyledger.server.v1.settled import ENDED, settled
from comfyledger.wire.answers.parts import Answer
from comfyledger.wire.routes import BATCH, ROUTES, Route

_encoder: Final = msgspec.json.Encoder()


def routes() -> list[web.RouteDef]:
    """All routes of the table. HEAD is answered like GET, without a body."""
    return [_route(route) for route in ROUTES]


def _route(route: Route) -> web.RouteDef:
    path = route.path.replace("{image}", "{image:.+}")
    handle = functools.partial(_handle, route)
    make = {"GET": web.get, "POST": web.post, "PUT": web.put, "DELETE": web.delete}[route.method]
    return make(path, handle, expect_handler=expect)


async def _handle(route: Route, request: web.Request) -> web.StreamResponse:
    request[ROUTE] = route
    check_url(request)
    caller = caller_of(request)
    if route.stream and wants_stream(request):
        return await stream(request, route, caller)
    context = request.app[CONTEXT].shown_to(caller)
    label, wait_s = label_of(request, caller), read_wait(request) if route.waits else None
    answer = await _answer(request, route, context, caller, label)
    headers = _headers(request, answer)
    is_old = isinstance(answer, wire.InputInfo) and not answer.new
    status = 200 if is_old or (isinstance(answer, wire.BatchAccepted) and answer.dry_run) else route.status
    if wait_s is not None and isinstance(answer, wire.BatchAccepted | wire.BatchInfo) and answer.batch_id:
        is_new = route.request is wire.SubmitBatch
        answer = await settled(request, context, caller, answer.batch_id, wait_s, is_new=is_new)
        status = 202 if answer.status not in ENDED and is_new else 200
    crash_points.at("reply.sending")
    answer = context.file_urls.added(answer, request)
    return json_response({route.part: getattr(answer, route.part)} if route.part else answer, status, headers)


async def _answer(request: web.Request, route: Route, context: Context, caller: Caller, label: str) -> Answer:
    if not route.has_body:
        return await answering.answer(context, caller, label, read_get(request, route), b"")
    body = await read_body(request, route, context.door.frame_bytes_max)
    try:
        asked = read_post(route, body, context.door.frame_bytes_max)
    except Refused as refusal:
        if route.request is not wire.SubmitBatch:
            raise
        return await answering.answer_unread(context, caller, label, refusal, body.raw)
    return await answering.answer(context, caller, label, asked.message, asked.raw)


def _headers(request: web.Request, answer: Answer) -> dict[str, str]:
    match answer:
        case wire.BatchAccepted(dry_run=False, batch_id=batch_id):
            return {"Location": BATCH.format(batch_id=batch_id)}
        case wire.Batches() | wire.Images() | wire.Inputs() | wire.Characters() if answer.more:
            return {"Link": _next_link(request, answer.next_cursor)}
        case _:
            return {}


def json_response(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer as JSON, on a line of its own in a terminal. Nothing on the way may keep it."""
    body = _encoder.encode(answer) + b"\n"
    fixed = {"Content-Type": JSON, "Cache-Control": "no-store"}
    return web.Response(body=body, status=status, headers={**fixed, **(headers or {})})


def _next_link(request: web.Request, cursor: str) -> str:
    """The page after this one, as a relative reference. (RFC 8288)"""
    query = {**request.query, "cursor": cursor}
    return f'<{request.path}?{urlencode(query)}>; rel="next"'
