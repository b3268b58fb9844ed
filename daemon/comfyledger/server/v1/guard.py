"""What stands before every request below `/v1`: hosts and origins, the rate of each token, refusals as problems.

Pages of an allowed origin may use `/v1` with a token, never with cookies. (Fetch standard, CORS protocol)
"""

from __future__ import annotations

import asyncio
import math
from functools import lru_cache
from typing import Final

import msgspec
import structlog
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from comfyledger.errors import Refused
from comfyledger.server.app_keys import CONNECTIONS, CONTEXT, RATES, REFUSALS
from comfyledger.server.rate_limit import BURST_S, TokenBucket
from comfyledger.server.tokens import Caller
from comfyledger.wire.problems import CONTENT_TYPE, problem_of, status_of
from comfyledger.wire.routes import ROUTES_HINT, Route

ROOT: Final = "/v1"
RETRY_S: Final = 1
"""Said with 429 and 503 if nothing better is known."""
BUCKETS_MAX: Final = 1_024
"""Rates of so many tokens are remembered. Revoked ones are among them until the daemon has seen as many others."""
EXPOSED: Final = "Content-Range, ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After"
PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "DELETE, GET, HEAD, POST, PUT",
    "Access-Control-Allow-Headers": "Authorization, Comfyledger-Client, Content-Disposition, Content-Type,"
    " Idempotency-Key, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}

FIXED: Final = {"X-Content-Type-Options": "nosniff", "Vary": "Origin"}
"""Headers of every answer below `/v1`."""

ROUTE: Final = web.RequestKey("route", Route)
HEADERS: Final = web.RequestKey("headers", dict[str, str])
"""What the answer to a request below `/v1` carries besides its own headers."""

log = structlog.get_logger("comfyledger.door")


def is_below(request: web.Request) -> bool:
    """Whether a request is one of `/v1`, known or not."""
    return request.path == ROOT or request.path.startswith(f"{ROOT}/")


async def expect(request: web.Request) -> web.Response | None:
    """Ask for the body of a request that waits with it, or refuse what else it expects. (RFC 9110, 10.1.1)

    aiohttp calls it before everything else.
    """
    wanted = request.headers["Expect"]
    if request.version < HttpVersion11:
        return None
    if wanted.lower() == "100-continue":
        await send_continue(request)
        return None
    request[HEADERS] = dict(FIXED)
    text = f"The request expects {wanted[:100]!r}."
    return problem(Refused("invalid_field", text, hint="Omit the header Expect.", path="header.Expect"))


async def send_continue(request: web.Request) -> None:
    """Ask for a body that the client holds back. It counts as no part of the answer."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0


async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request below `/v1`, whatever happens."""
    request[HEADERS] = dict(FIXED)
    app = request.app
    try:
        app[CONTEXT].access.check_caller(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=PREFLIGHT)
        _admit(request, app)
        with app[CONNECTIONS].answering(request.protocol):
            return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        methods = ", ".join(sorted(error.allowed_methods))
        refusal = Refused("method_not_allowed", f"{request.path[:200]} accepts {methods} only.", hint=f"Use {methods}.")
        return problem(refusal, {"Allow": methods})
    except web.HTTPNotFound:
        text = f"There is nothing at {request.path[:200]!r}."
        return problem(Refused("unknown_path", text, hint=ROUTES_HINT))
    except Refused as refusal:
        app[REFUSALS].info("door.refused", code=refusal.code, remote=request.remote)
        return problem(refusal, route=request.get(ROUTE))
    except (asyncio.CancelledError, web.HTTPException):
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and _is_gone(request):
            log.debug("door.client_left", remote=request.remote)
            return web.Response(status=408)  # nobody receives it
        log.exception("request.failed", path=request.path[:200])
        return problem(Refused("internal"))


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def problem(refusal: Refused, headers: dict[str, str] | None = None, *, route: Route | None = None) -> web.Response:
    """A refusal as problem details, with the headers that belong to its status."""
    status = status_of(refusal.code)
    more = dict(headers or {})
    if status == 401:
        more["WWW-Authenticate"] = 'Bearer realm="comfyledger"'
    if status in {429, 503}:
        more["Retry-After"] = str(math.ceil(refusal.retry_after_s) or RETRY_S)
    if status == 415:
        more["Accept"] = "application/json"
    body = msgspec.json.encode(problem_of(refusal, route)) + b"\n"
    return web.Response(
        body=body, status=status, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store", **more}
    )


def _admit(request: web.Request, app: web.Application) -> None:
    """Recognize the caller. Raises Refused(busy, rate_limited)."""
    context = app[CONTEXT]
    caller = context.access.recognize(request)
    if caller is not None:
        app[CONNECTIONS].authenticate(request.protocol)
        _check_rate(request, app[RATES], context.door.frames_per_second_max, caller)


def _check_rate(request: web.Request, rates: dict[bytes, TokenBucket], rate: float, caller: Caller) -> None:
    """Raises Refused(rate_limited). Each answer says how many are left. (draft-ietf-httpapi-ratelimit-headers)"""
    now_s = asyncio.get_running_loop().time()
    bucket = rates.pop(caller.digest, None) or TokenBucket(rate, now_s)
    rates[caller.digest] = bucket
    if len(rates) > BUCKETS_MAX:
        del rates[next(iter(rates))]
    wait_s = bucket.take(now_s)
    most, left = bucket.most, bucket.left
    request[HEADERS] |= {
        "RateLimit-Policy": _policy(most),
        "RateLimit": f'"requests";r={left};t={math.ceil((most - left) / rate)}',
    }
    if wait_s:
        hint = "Send fewer requests, or raise [door] frames_per_second_max."
        raise Refused("rate_limited", "The token sends too many requests.", hint=hint, retry_after_s=round(wait_s, 3))


@lru_cache(maxsize=1)
def _policy(most: int) -> str:
    return f'"requests";q={most};w={BURST_S:g}'


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer below `/v1` carries, streams included."""
    headers = request.get(HEADERS)
    if headers is None:
        return
    response.headers.update(headers)
    origin = request.headers.get("Origin")
    if origin is not None and request.app[CONTEXT].access.takes_origin(request, origin):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
