"""One HTTP request on a connection of its own, at the address of the websocket: for files, which no frame can carry.

Files are streamed, so this has no more of HTTP than they need: the head of a request, the head of an answer, why an
answer is a refusal, and for how long a broken request is made again.
"""

from __future__ import annotations

import asyncio
import io
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from http.client import HTTPException, parse_headers
from typing import Final
from urllib.parse import urlsplit

import msgspec

from comfyledger.client.connecting import CONNECT_S, absent, refused_by_daemon, trusted_socket
from comfyledger.client.finding import Address
from comfyledger.core.backoff import backoff
from comfyledger.core.urls import without_userinfo
from comfyledger.errors import CODES, Refused
from comfyledger.wire.problems import Problem
from comfyledger.wire.routes import CLIENT_HEADER

DELAY_MIN_S: Final = 0.1
DELAY_MAX_S: Final = 5.0
BROKEN: Final = frozenset({"not_running", "busy", "rate_limited"})
"""Refusals after which the same request may go well in a moment."""


class Tries:
    """For how long a broken request is made again: `timeout_s` from the first break on, None for ever."""

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        self._count = 0
        self._ends_at: float | None = None

    def succeed(self) -> None:
        """It went on: the time begins anew with the next break."""
        self._count, self._ends_at = 0, None

    async def wait(self, trouble: Refused) -> None:
        """Wait before the next try. Raises the trouble if the time is over, or if it does not pass by itself."""
        now = asyncio.get_running_loop().time()
        self._ends_at = now + (self._timeout_s or 0.0) if self._ends_at is None else self._ends_at
        is_over = self._timeout_s is not None and now >= self._ends_at
        if trouble.code not in BROKEN or is_over:
            raise trouble
        self._count += 1
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        await asyncio.sleep(max(trouble.retry_after_s, backoff(self._count, DELAY_MIN_S, DELAY_MAX_S, spread)))


@asynccontextmanager
async def http_connection(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Raises OSError."""
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await _connected(address)
    except TimeoutError:
        raise ConnectionRefusedError("no connection in time") from None
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _connected(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.unix_path:
        return await asyncio.open_unix_connection(sock=await trusted_socket(address))
    parts = urlsplit(address.url)
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    return await asyncio.open_connection(parts.hostname, port, ssl=ssl.create_default_context() if is_tls else None)


def request_head(method: str, target: str, address: Address, label: str, *headers: str) -> bytes:
    """Request line and headers. `target`: path and query below the address. Raises Refused(invalid_field)."""
    if not label.isprintable():
        raise Refused("invalid_field", "The name of the client is not printable.", hint="Choose another name.")
    parts = urlsplit(address.url if not address.unix_path else "http://localhost")
    lines = [
        f"{method} {parts.path}{target} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"{CLIENT_HEADER}: {label}",
        "Connection: close",
        *([f"Authorization: Bearer {address.token}"] if address.token else []),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, Message, bytes]:
    """Status and headers of an answer, and all of it as it came. Raises OSError, EOFError, HTTPException."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise HTTPException("the head of the answer is too long") from error
    line, _, rest = head.partition(b"\r\n")
    status = line.split(b" ", 2)[1:2]
    if not status or not status[0].isdigit():
        raise HTTPException("the answer is not HTTP")
    return int(status[0]), parse_headers(io.BytesIO(rest)), head


def refusal_in(address: Address, status: int, body: bytes) -> Refused:
    """What an answer that is no success says."""
    try:
        said = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return refused_by_daemon(body) or no_daemon(address, status)
    return Refused(
        said.code,
        said.detail or CODES.get(said.code, said.code),
        hint=said.hint,
        path=said.path,
        retry_after_s=said.retry_after_s,
    )


def no_daemon(address: Address, status: int) -> Refused:
    """For an answer that no daemon gives."""
    if status in {502, 503, 504}:
        return absent(address)
    text = f"{without_userinfo(address.url)} answered {status}, and not as a daemon of this version does."
    hint = "Check the address, the versions of both sides, and how large a file a proxy in between lets through."
    return Refused("protocol_version", text, hint=hint)
