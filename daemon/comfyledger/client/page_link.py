"""A link to the web page that signs in by itself: `POST /v1/sessions/links`."""

from __future__ import annotations

import asyncio
from http.client import HTTPException
from typing import Final

import msgspec

from comfyledger.client.connecting import absent
from comfyledger.client.finding import Address
from comfyledger.client.http_calls import http_connection, no_daemon, read_head, refusal_in, request_head
from comfyledger.wire.sessions import LINKS, SessionLink

ANSWER_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 65_536


async def ask_page_link(address: Address, label: str) -> SessionLink:
    """A link that works once. Nothing is repeated: a link that got lost expires by itself.

    Raises Refused(page_unreachable, not_running, unauthorized, forbidden).
    """
    head = request_head("POST", LINKS, address, label, "Content-Length: 0")
    try:
        async with http_connection(address) as (reader, writer), asyncio.timeout(ANSWER_S):
            writer.write(head)
            status, headers, _ = await read_head(reader)
            body = await reader.readexactly(min(int(headers.get("Content-Length") or 0), ANSWER_BYTES_MAX))
    except (OSError, EOFError, HTTPException, ValueError) as error:  # TimeoutError is an OSError
        raise absent(address) from error
    if status != 201:
        raise refusal_in(address, status, body)
    try:
        return msgspec.json.decode(body, type=SessionLink)
    except msgspec.MsgspecError as error:
        raise no_daemon(address, status) from error
