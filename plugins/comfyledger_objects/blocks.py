"""Uploads in parts to Azure that ask first: blocks on a signed address, and then their list, which has the condition.

obstore sends the same requests, but it adds a condition to all of them, also to those that know none, and adds it after
an account key has signed the headers. An address that is signed signs no header. So the requests are made here, and so
is the one that deletes a blob only if it is still the same. Azure drops blocks that no list names within a week, so
nothing is left that anybody has to delete.
Source: learn.microsoft.com/rest/api/storageservices/put-block, /put-block-list and /delete-blob.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from comfyledger_objects.options import Options

PARTS_AT_ONCE: Final = 3
LEAST_BYTES_S: Final = 81_920
"""The rate, in bytes a second, that an upload has at least. The daemon gives a call a little more time than that."""
SLICE_BYTES: Final = 262_144
"""What is given to the connection at once, so that it need not copy what it cannot send."""
ANSWER_BYTES_MAX: Final = 65_536
ADDRESS_S: Final = 7_200.0
ADDRESS_USED_S: Final = 3_600.0
"""An address is valid for the first time, and signed anew after the second one."""
EARLY_TRIES: Final = 4
EARLY_S: Final = 2.0
"""An address that obstore signs is valid from now on, by our clock. A server with a slow one is asked that often."""
IDLE_CONNECTION_S: Final = 15.0
CONDITION: Final = {"If-None-Match": "*"}
NAMES: Final = {
    "Content-Type": "x-ms-blob-content-type",
    "Cache-Control": "x-ms-blob-cache-control",
    "Storage-Class": "x-ms-access-tier",
}
"""Attributes that are no metadata."""
TAKEN: Final = frozenset(("BlobAlreadyExists", "ConditionNotMet", "InvalidBlockList", "InvalidBlobOrBlock"))
"""Codes that say that the blob is there, or that another upload has ended and dropped our blocks."""


class Taken(Exception):
    """Something has the key already, or another process works on it. Whoever gets this looks what is there."""


class Broken(Exception):
    """No answer, or one that is an error. Its text has the form that `faults` reads."""


Sign = Callable[[Any, str, float], Awaitable[str]]
"""Makes an address for a method and a key, which is valid for so many seconds."""


class Blocks:
    """Conditional requests to one container."""

    def __init__(self, options: Options, sign: Sign) -> None:
        self._options, self._sign = options, sign
        self._session: aiohttp.ClientSession | None = None

    async def create(self, key: str, pieces: Iterator[bytes], attributes: Mapping[str, str]) -> None:
        """Store bytes that come in pieces under a key that nothing has. Raises Taken, Broken, and what obstore or the
        iterator raises.
        """
        address, token = _Address(self._sign, "PUT", key), secrets.token_hex(8)
        named: list[str] = []
        sending: set[asyncio.Task[None]] = set()
        try:
            while (read := await asyncio.to_thread(_next, pieces)) is not None:
                sending = await _ended(sending, PARTS_AT_ONCE - 1)
                named.append(base64.b64encode(f"{token}{len(named):016x}".encode()).decode())
                query = {"comp": "block", "blockid": named[-1]}
                sending.add(asyncio.create_task(self._send(address, query, read[0], {"Content-MD5": read[1]})))
            await _ended(sending, 0)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        listed = "".join(f"<Latest>{one}</Latest>" for one in named)
        document = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        await self._send(address, {"comp": "blocklist"}, document, {**CONDITION, **_said(attributes)})

    async def delete(self, key: str, etag: str) -> None:
        """Delete a blob if it still has this etag. Raises FileNotFoundError, Taken if it has another one, Broken."""
        await self._send(_Address(self._sign, "DELETE", key), {}, b"", {"If-Match": etag})

    async def _send(self, address: _Address, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> None:
        for tries in range(1, EARLY_TRIES + 1):
            status, text = await self._asked(address.method, await address.url(query), body, headers)
            if status < 300:
                return
            if "<Code>BlobNotFound</Code>" in text:
                raise FileNotFoundError(text)
            if any(f"<Code>{code}</Code>" in text for code in TAKEN):
                raise Taken
            is_early = status == 403 and "AuthenticationFailed" in text
            if not is_early or tries == EARLY_TRIES:
                raise Broken(f"Azure has answered with status code: {status}, body: {text}")
            await asyncio.sleep(EARLY_S)

    async def _asked(self, method: str, url: URL, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and text of an answer. Raises Broken without one."""
        sized, data = {**headers, "Content-Length": str(len(body))}, _slices(body) if body else None
        limit_s = self._options.request_timeout_s + PARTS_AT_ONCE * len(body) / LEAST_BYTES_S
        try:
            asking = self._ready().request(method, url, data=data, headers=sized, allow_redirects=False)
            async with asyncio.timeout(limit_s), asking as answer:
                return answer.status, (await answer.content.read(ANSWER_BYTES_MAX)).decode(errors="replace")
        except aiohttp.ClientConnectorError as error:
            raise Broken(f"{error}\n\nDebug source:\nkind: Connect") from error
        except TimeoutError as error:
            raise Broken(f"No answer came within {limit_s:g} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(str(error) or type(error).__name__) from error

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._options.connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
            # It would send a request again by itself, without the body that is used up. The daemon does that.
            self._session._retry_connection = False
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Address:
    """The signed address of one key, kept while it is valid for long enough."""

    def __init__(self, sign: Sign, method: str, key: str) -> None:
        self.method, self._sign, self._key = method, sign, key
        self._signed, self._until_s = "", 0.0

    async def url(self, query: Mapping[str, str]) -> URL:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._until_s:
            self._signed = await self._sign(self.method, self._key, ADDRESS_S)
            self._until_s = now_s + ADDRESS_USED_S
        return URL("&".join(filter(None, (self._signed, urlencode(query)))), encoded=True)


def _next(pieces: Iterator[bytes]) -> tuple[bytes, str] | None:
    """The next piece, with its MD5 as the header wants it."""
    piece = next(pieces, None)
    if piece is None:
        return None
    return piece, base64.b64encode(hashlib.md5(piece, usedforsecurity=False).digest()).decode()


async def _ended(sending: set[asyncio.Task[None]], left: int) -> set[asyncio.Task[None]]:
    """Wait until at most so many are left; those. Raises what one of them has raised."""
    while len(sending) > left:
        done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    return sending


async def _slices(body: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for begin in range(0, len(view), SLICE_BYTES):
        yield view[begin : begin + SLICE_BYTES]


def _said(attributes: Mapping[str, str]) -> dict[str, str]:
    return {NAMES.get(name, f"x-ms-meta-{name}"): value for name, value in attributes.items()}
