"""HTTP below `/v1`: the requests of the websocket as routes, by the same code.

Each handler reads the request, has it answered as a websocket has it, and writes the answer as JSON. A refusal becomes
problem details. (RFC 9457)
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from comfyledger import crash_points, wire
from comfyledger.admission import dispatch, repeats
from comfyledger.errors import Refused
from comfyledger.server import access
from comfyledger.server.app_keys import CONTEXT, Context
from comfyledger.server.tokens import Caller
from comfyledger.server.v1.reading import label_of, read_request, read_wait, takes_wait
from comfyledger.server.v1.settled import settled
from comfyledger.wire.answers.parts import Answer
from comfyledger.wire.routes import BATCH, ROUTES, Route

JSON: Final = "application/json"


def routes() -> list[web.RouteDef]:
    """All routes of the table. HEAD is answered like GET, without a body."""
    return [_route(route) for route in ROUTES]


def _route(route: Route) -> web.RouteDef:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await _handle(request, route)

    path = route.path.replace("{image}", "{image:.+}")
    return web.get(path, handle) if route.method == "GET" else web.post(path, handle)


async def _handle(request: web.Request, route: Route) -> web.StreamResponse:
    caller = request.app[CONTEXT].access.caller(request)
    context = request.app[CONTEXT].shown_to(caller)
    label, wait_s = label_of(request, caller), read_wait(request) if takes_wait(route) else None
    asked = await read_request(request, route, context.door.frame_bytes_max)
    try:
        answer = await _answer(context, caller, label, asked.message, asked.raw)
    except Refused as refusal:
        if route.request is not wire.SubmitBatch:
            raise
        answer = await repeats.instead_of(refusal, context, label, asked.raw)
    return await _respond(request, route, context, answer, wait_s)


async def _answer(context: Context, caller: Caller, label: str, message: wire.Message, raw: bytes) -> Answer:
    context.access.check_still(caller)
    await access.check_request(caller, message, context.reader)
    return await dispatch.answer(context, label, message, raw)


async def _respond(
    request: web.Request, route: Route, context: Context, answer: Answer, wait_s: float | None
) -> web.Response:
    headers: dict[str, str] = {}
    status = route.status
    match answer:
        case wire.BatchAccepted(dry_run=True):
            status = 200
        case wire.BatchAccepted(batch_id=batch_id):
            headers["Location"] = BATCH.format(batch_id=batch_id)
            if wait_s is not None:
                answer = await settled(context, batch_id, wait_s)
                status = 200 if answer.status == "settled" else 202
        case wire.BatchInfo(batch_id=batch_id) if wait_s is not None:
            answer = await settled(context, batch_id, wait_s)
        case wire.Batches() | wire.Images() if answer.more:
            headers["Link"] = _next_link(request, answer.next_cursor)
    crash_points.at("reply.sending")
    return json_response({route.part: getattr(answer, route.part)} if route.part else answer, status, headers)


def json_response(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer as JSON. Nothing on the way may keep it."""
    body = msgspec.json.encode(answer)
    return web.Response(
        body=body, status=status, content_type=JSON, headers={"Cache-Control": "no-store", **(headers or {})}
    )


def _next_link(request: web.Request, cursor: str) -> str:
    """The page after this one, as a relative reference. (RFC 8288)"""
    query = {**request.query, "cursor": cursor}
    return f'<{request.path}?{urlencode(query)}>; rel="next"'
