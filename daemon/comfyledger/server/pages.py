"""The aiohttp application: one websocket at /ws, the pages beside it, and the access check before all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.server import files, fleet_files, thumbnails, web_page
from comfyledger.server.access import caller_of
from comfyledger.server.app_keys import (
    CONNECTIONS,
    CONTEXT,
    HELD,
    RATES,
    REFUSALS,
    UPLOADS,
    WEBSOCKETS,
    Client,
    Context,
    Websockets,
    check_room,
)
from comfyledger.server.connections import ConnectionLimits, Connections
from comfyledger.server.rate_limit import RateLimitedLog
from comfyledger.server.session import Session
from comfyledger.server.v1 import documents, guard, handlers, inputs, sessions, zips
from comfyledger.wire import SUBPROTOCOL

HARD_LIMIT: Final = 8
"""A frame above this multiple of the limit closes the connection unread; a smaller one is answered."""
HEARTBEAT_S: Final = 30.0
CLOSE_S: Final = 0.5
TOKENS_S: Final = 1.0
"""How often the token files are checked for changes."""
_STATUS: Final = {
    "unauthorized": 401,
    "session_expired": 401,
    "forbidden_host": 421,
    "forbidden_origin": 403,
    "forbidden": 403,
    "unknown_image": 404,
    "busy": 503,
    "store_unavailable": 503,
    "box_away": 503,
    "unknown_path": 404,
    "signature_invalid": 403,
}

log = structlog.get_logger("comfyledger.door")


def make_app(context: Context, limits: ConnectionLimits) -> web.Application:
    """The application of one server, with its connection limits."""
    app = web.Application(client_max_size=65_536, middlewares=[_guarded])
    app[CONTEXT] = context
    app[WEBSOCKETS] = Websockets()
    app[CONNECTIONS] = Connections(limits.authenticated, limits.anonymous)
    app[REFUSALS] = RateLimitedLog(log, asyncio.get_running_loop().time)
    app[RATES] = {}
    app[HELD] = {}
    app[zips.KEPT] = zips.Zips()
    app[UPLOADS] = asyncio.Semaphore(inputs.UPLOADS_MAX)
    app.add_routes(
        [
            web.get("/ws", _socket),
            *web_page.routes(),
            *files.routes(),
            *thumbnails.routes(),
            *fleet_files.routes(),
            *documents.routes(),
            *zips.routes(),
            *handlers.routes(),
            *inputs.routes(),
            *sessions.routes(),
        ]
    )
    app.on_response_prepare.append(guard.add_headers)
    app.on_shutdown.append(_close_sockets)
    app.cleanup_ctx.append(_token_watcher)
    return app


@web.middleware
def _guarded(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Checks Host and Origin of every request, whatever its path."""
    return guard.guarded(request, handler) if guard.is_below(request) else _page(request, handler)


async def _page(request: web.Request, handler: Handler) -> web.StreamResponse:
    access, connections = request.app[CONTEXT].access, request.app[CONNECTIONS]
    try:
        access.check_caller(request)
        if access.recognize(request) is not None:
            connections.authenticate(request.protocol)
        with connections.answering(request.protocol):
            return await handler(request)
    except Refused as refusal:
        request.app[REFUSALS].info("door.refused", code=refusal.code, remote=request.remote)
        return _refused(refusal)


def _refused(refusal: Refused) -> web.Response:
    body = wire.frame("error", wire.error_of(refusal))
    return web.Response(body=body, status=_STATUS.get(refusal.code, 400), content_type="application/json")


async def _socket(request: web.Request) -> web.StreamResponse:
    context = request.app[CONTEXT]
    sockets = request.app[WEBSOCKETS].open
    caller = caller_of(request)
    check_room(request.app, caller)
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S,
        compress=False,
        max_msg_size=context.door.frame_bytes_max * HARD_LIMIT,
        protocols=(SUBPROTOCOL,),
        decode_text=False,
    )
    await socket.prepare(request)
    sockets[socket] = Client(caller, request)
    try:
        await Session(context, request, socket, caller).run()
    except ConnectionError:
        log.debug("door.client_left", remote=request.remote)
    finally:
        del sockets[socket]
    return socket


async def _token_watcher(app: web.Application) -> AsyncIterator[None]:
    """Runs `_watch_tokens` as long as the application."""
    task = asyncio.create_task(_watch_tokens(app[CONTEXT], app[WEBSOCKETS].open, app[HELD]))
    yield
    task.cancel()


async def _watch_tokens(
    context: Context, sockets: dict[web.WebSocketResponse, Client], held: dict[asyncio.Task[None], Client]
) -> None:
    """Pick up changed tokens and keys, and close connections whose token was revoked or whose session ended."""
    access = context.access
    while True:
        await asyncio.sleep(TOKENS_S)
        context.file_urls.refresh()
        access.sessions.refresh()
        is_changed = access.keyring is not None and access.keyring.refresh()
        gone = [(socket, one) for socket, one in sockets.items() if not access.holds(one.caller)]
        ended = [task for task, one in held.items() if not access.holds(one.caller)]
        if is_changed or gone or ended:
            log.info("door.tokens_read", closed=len(gone) + len(ended))
        for task in ended:
            task.cancel()
        await asyncio.gather(*(_close_ended(socket, one) for socket, one in gone))


async def _close_ended(socket: web.WebSocketResponse, client: Client) -> None:
    """Close with the reason. A client that does not read within `CLOSE_S` is cut off."""
    reason = b"the token was revoked" if client.caller.session is None else b"the session has ended"
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code=1008, message=reason)
    except TimeoutError:
        if client.request.transport is not None:
            client.request.transport.abort()


async def _close_sockets(app: web.Application) -> None:
    for task in app[HELD]:
        task.cancel()
    for socket in list(app[WEBSOCKETS].open):
        await socket.close(code=1001, message=b"the daemon is stopping")
