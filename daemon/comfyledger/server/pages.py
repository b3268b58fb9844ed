"""The HTTP side of the door: one websocket at /ws, the pages beside it, and the gate before all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.server import files
from comfyledger.server.app_keys import CONNECTIONS, CONTEXT, REFUSALS, WEBSOCKETS, Client, Context, Websockets
from comfyledger.server.connections import BUSY_HINT, ConnectionLimits, Connections
from comfyledger.server.rate_limit import RateLimitedLog
from comfyledger.server.session import Session
from comfyledger.server.tokens import Caller, Keyring
from comfyledger.wire import SUBPROTOCOL

HARD_LIMIT: Final = 8
"""Frames above so many times the limit close the connection unread; those between are answered."""
SPARED: Final = 32
"""Websockets above `connections_max`, for tokens that hold fewer than `SPARED_EACH`."""
SPARED_EACH: Final = 2
HEARTBEAT_S: Final = 30.0
SHOW_OUT_S: Final = 0.5
TOKENS_S: Final = 1.0
"""How soon a token that was added opens the door, and one that was revoked does not."""
_STATUS: Final = {
    "unauthorized": 401,
    "forbidden_host": 421,
    "forbidden_origin": 403,
    "forbidden": 403,
    "unknown_image": 404,
    "busy": 503,
    "store_unavailable": 503,
}

log = structlog.get_logger("comfyledger.door")


def make_app(context: Context, limits: ConnectionLimits) -> web.Application:
    """The application of one door, with so many places for connections."""
    app = web.Application(client_max_size=65_536, middlewares=[_guarded])
    app[CONTEXT] = context
    app[WEBSOCKETS] = Websockets()
    app[CONNECTIONS] = Connections(limits.authenticated, limits.anonymous)
    app[REFUSALS] = RateLimitedLog(log, asyncio.get_running_loop().time)
    app.add_routes([web.get("/ws", _socket), *files.routes()])
    app.on_shutdown.append(_close_sockets)
    app.cleanup_ctx.append(_heeding_tokens)
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Host and Origin are checked for every address, the harmless ones included."""
    access, connections = request.app[CONTEXT].access, request.app[CONNECTIONS]
    try:
        access.check_caller(request)
        if access.known(request) is not None:
            connections.welcome(request.protocol)
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
    caller = context.access.caller(request)
    _check_room(sockets, caller, context.door.connections_max)
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


def _check_room(sockets: Mapping[web.WebSocketResponse, Client], caller: Caller, most: int) -> None:
    """A token that fills the door leaves a few places to the others. Raises Refused(busy)."""
    if len(sockets) < most:
        return
    own = sum(one.caller.digest == caller.digest for one in sockets.values())
    if own >= SPARED_EACH or len(sockets) >= most + SPARED:
        raise Refused("busy", f"There are {len(sockets)} connections already.", hint=BUSY_HINT, retry_after_s=1.0)


async def _heeding_tokens(app: web.Application) -> AsyncIterator[None]:
    """While the door is open, whoever's token is revoked is shown out."""
    task = asyncio.create_task(_heed_tokens(app[CONTEXT].access.keyring, app[WEBSOCKETS].open))
    yield
    task.cancel()


async def _heed_tokens(keyring: Keyring | None, sockets: dict[web.WebSocketResponse, Client]) -> None:
    while keyring is not None:
        await asyncio.sleep(TOKENS_S)
        if keyring.refresh():
            gone = [(socket, one.request) for socket, one in sockets.items() if not keyring.holds(one.caller)]
            log.info("door.tokens_read", closed=len(gone))
            await asyncio.gather(*(_show_out(socket, request) for socket, request in gone))


async def _show_out(socket: web.WebSocketResponse, request: web.Request) -> None:
    """Say why, and wait for nobody: who does not read is cut off."""
    try:
        async with asyncio.timeout(SHOW_OUT_S):
            await socket.close(code=1008, message=b"the token was revoked")
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


async def _close_sockets(app: web.Application) -> None:
    for socket in list(app[WEBSOCKETS].open):
        await socket.close(code=1001, message=b"the daemon is stopping")
