"""One signed POST to the endpoint of a webhook, within bounds: what it answered, as an outcome.

No redirect is followed, and nothing of this machine is sent: no cookie, no login, no proxy. A name is resolved once for
each request, and the connection goes to the address that was judged. Of the answer only the status counts. Its body is
read up to a bound, so that the endpoint sees an orderly end, and is kept nowhere: it may quote what was sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from comfyledger.core.addresses import LOCALHOST, is_written, why_never, why_private
from comfyledger.core.webhook_deliveries import Fault
from comfyledger.core.webhooks import signature
from comfyledger.workers.resolving import JudgedResolver, NotAllowed

TOTAL_S: Final = 10.0
"""For one request, from the name to the status."""
CONNECT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 4_096
ANSWER_S: Final = 1.0
_OF_THE_ENDPOINT: Final = frozenset({408, 425, 429})
"""Statuses below 500 that say nothing about the event (RFC 9110, RFC 8470, RFC 6585)."""


class Signed(NamedTuple):
    """A request. `key` signs it anew at each try, because receivers refuse old times."""

    url: str
    message_id: str
    body: bytes
    key: bytes


class Poster:
    """Sends to endpoints. `trusts_names`: whether a name may mean a private address, because the operator wrote it."""

    def __init__(self, *, trusts_names: bool, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._judge = (lambda _, address: why_never(address)) if trusts_names else why_private
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, request: Signed) -> Fault | None:
        """Send a request; None if its endpoint took it."""
        try:
            async with asyncio.timeout(TOTAL_S):
                return await self._answered(request)
        except TimeoutError:
            return Fault("endpoint", "timeout", f"The endpoint did not answer within {TOTAL_S:.0f} s.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _not_reached(error)

    async def _answered(self, request: Signed) -> Fault | None:
        host = urlsplit(request.url).hostname or ""
        if is_written(host) and host != LOCALHOST and (why := self._judge(host, host)):  # which no resolver will see
            raise NotAllowed(why)
        at_s = self._wall_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": request.message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(request.key, request.message_id, at_s, request.body),
        }
        target = URL(request.url, encoded=True)
        async with self._open().post(target, data=request.body, headers=headers, allow_redirects=False) as answer:
            fault = fault_of(
                answer.status,
                answer.headers.get("Retry-After", ""),
                datetime.fromtimestamp(self._wall_ms() / 1000, UTC),
            )
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(ANSWER_S):
                    await answer.content.read(ANSWER_BYTES_MAX)
        return fault

    def _open(self) -> aiohttp.ClientSession:
        """The session is made in the loop that uses it. A connection serves one request: see the module."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=JudgedResolver(self._judge), use_dns_cache=False, force_close=True, limit=0
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                headers={"User-Agent": "comfyledger", "Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def fault_of(status: int, retry_after: str, now: datetime) -> Fault | None:
    """What a status means; None for 2xx, which alone means that the event was taken."""
    code = f"http_{status}"
    if 200 <= status < 300:
        return None
    if status == 410:
        return Fault("gone", code, "The endpoint answered 410: it wants nothing more.")
    if 300 <= status < 400:
        text = f"The endpoint answered {status} and redirects, which is not followed: write the address that it names."
        return Fault("endpoint", code, text)
    is_its_own = status >= 500 or status in _OF_THE_ENDPOINT
    text = f"The endpoint answered {status}."
    return Fault("endpoint" if is_its_own else "event", code, text, _seconds(retry_after, now))


def _seconds(retry_after: str, now: datetime) -> float:
    """The header `Retry-After`, seconds or a date (RFC 9110, 10.2.3); 0 for what is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    return 0.0


def _not_reached(error: BaseException) -> Fault:
    """An error of the connection, without the address, which may hold a secret."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, NotAllowed):
        return Fault("endpoint", "address_not_allowed", f"The endpoint is not called: {inner}.")
    if isinstance(error, aiohttp.ClientSSLError):
        return Fault("endpoint", "tls", "The endpoint has no valid certificate, or does not speak TLS.")
    if isinstance(inner, aiohttp.ServerTimeoutError):
        return Fault("endpoint", "timeout", f"The endpoint took no connection within {CONNECT_S:.0f} s.")
    if isinstance(inner, aiohttp.ServerDisconnectedError):
        return Fault("endpoint", "not_reached", "The endpoint closed the connection without an answer.")
    return Fault("endpoint", "not_reached", f"The endpoint cannot be reached: {_why(inner)[:200]}.")


def _why(error: BaseException) -> str:
    """In the words of the system, which name no address as those of asyncio do."""
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
