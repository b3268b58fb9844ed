"""Fetches an input file from a server that `[inputs] url_hosts` names: once, without redirects, within bounds.

A name is resolved once, the address that is judged is the one that is used, and nothing of this machine is sent: no
cookie, no login, no proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp
from yarl import URL

from comfyledger.core.addresses import LOCALHOST, is_written, why_not
from comfyledger.core.urls import shown_url
from comfyledger.errors import Refused
from comfyledger.settings.addresses import fetched_origin
from comfyledger.workers.inputs.paced import TooSlow, paced
from comfyledger.workers.resolving import JudgedResolver, NotAllowed

FETCHES_MAX: Final = 4
"""At the same time."""
TURN_S: Final = 30.0
"""How long a request waits for others."""
CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0
"""How long a server may take until its answer begins."""
PIECE_BYTES: Final = 65_536
PATH: Final = "$.data.url"
HOSTS_HINT: Final = "Send the file itself, or have its server listed in [inputs] url_hosts."


class Fetched(NamedTuple):
    """A file that is on its way. `size_bytes`: as far as the server says, else 0. `named`: its name there."""

    chunks: AsyncGenerator[bytes, None]
    size_bytes: int
    named: str


class InputFetcher:
    """Fetches from the servers of the configuration. `origins`: scheme, host and port of each."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins
        self._turns = asyncio.Semaphore(FETCHES_MAX)

    @asynccontextmanager
    async def fetched(self, url: str) -> AsyncIterator[Fetched]:
        """The answer to one GET. Raises, also while it is read, Refused(invalid_field, url_not_allowed, url_failed,
        busy).
        """
        target = self._target(url)
        async with self._turn(), _session() as session:
            try:
                async with asyncio.timeout(CONNECT_S + ANSWER_S) as limit:
                    response = await session.get(target, allow_redirects=False)
                    limit.reschedule(None)
                    async with response:
                        _check(response)
                        yield _fetched(response)
            except (NotAllowed, aiohttp.ClientError, OSError, TimeoutError, TooSlow) as error:
                raise _failed(error, url) from error

    def check(self, url: str) -> None:
        """Raises Refused(invalid_field, url_not_allowed) for what is never fetched. Nobody is asked."""
        self._target(url)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            text = f"{FETCHES_MAX} files are being fetched already."
            raise Refused("busy", text, hint="Repeat the request in a moment.", retry_after_s=1.0) from None
        try:
            yield
        finally:
            self._turns.release()

    def _target(self, url: str) -> URL:
        """The URL to call. Its server is written as the configuration has it, whatever `url` looks like to others."""
        try:
            parts = urlsplit(url)
            origin = "" if "@" in parts.netloc else fetched_origin(f"{parts.scheme}://{parts.netloc}")
        except ValueError:
            parts, origin = SplitResult("", "", "", "", ""), ""
        if not origin or not url.isascii() or not url.isprintable() or " " in url:
            text = f"{shown_url(url)[:200]!r} is not the address of a file."
            hint = "Write it like https://images.example/portrait.png, percent-encoded and without a user."
            raise Refused("invalid_field", text, hint=hint, path=PATH)
        if origin not in self._origins:
            raise Refused("url_not_allowed", f"{origin} is not in [inputs] url_hosts.", hint=HOSTS_HINT, path=PATH)
        if (
            (host := parts.hostname or "") != LOCALHOST and is_written(host) and (why := why_not(host, host))
        ):  # which no resolver will see
            raise Refused("url_not_allowed", f"{why}.", hint=HOSTS_HINT, path=PATH)
        query = f"?{parts.query}" if parts.query else ""
        return URL(f"{origin}{parts.path or '/'}{query}", encoded=True)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=JudgedResolver(why_not), use_dns_cache=False, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        headers={"Accept-Encoding": "identity", "User-Agent": "comfyledger"},
        auto_decompress=False,
        trust_env=False,
    )


def _check(response: aiohttp.ClientResponse) -> None:
    """Raises Refused(url_failed) for an answer that is not the file itself."""
    if 300 <= response.status < 400:
        raise _refused("The server redirects to another address, which is not followed.", "Give that address.")
    if response.status != 200:
        raise _refused(f"The server answered {response.status}.", "Check that the address needs no login.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _refused("The server sent the file compressed, although it was not to.", "Send the file itself.")


def _refused(text: str, hint: str) -> Refused:
    return Refused("url_failed", text, hint=hint, path=PATH)


def _fetched(response: aiohttp.ClientResponse) -> Fetched:
    named = unquote(response.url.raw_path).rpartition("/")[2]
    return Fetched(paced(response.content.readany), response.content_length or 0, named)


def _failed(error: BaseException, url: str) -> Refused:
    """An error of the connection, with the server but without the rest of the address, which may hold a secret."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, NotAllowed):
        text = f"{inner}; such an address is fetched from only if url_hosts names the address itself."
        return Refused("url_not_allowed", text, hint=HOSTS_HINT, path=PATH)
    why = "it did not answer in time" if isinstance(inner, TimeoutError) else str(inner) or type(inner).__name__
    text = f"{shown_url(url).partition('?')[0][:200]} could not be fetched: {why[:200]}."
    return _refused(text, "Check the address and the server, and repeat the request.")
