"""What the backends of the examples must do: ask for a batch, and take deliveries whose signature is right.

The signatures are made here, after the Standard Webhooks specification, and not by the daemon's code.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import aiohttp

from support.waiting import DEADLINE_S

SECRET = b"a secret of twenty-four b"
WEBHOOK_SECRET = f"whsec_{base64.b64encode(SECRET).decode()}"
ORDER = {"order": "order-2001", "username": "Areg", "character": "Opal Fever", "quantity": 2}


async def said(out: asyncio.StreamReader, word: str) -> str:
    """What the next line says after this word."""
    line = (await asyncio.wait_for(out.readline(), DEADLINE_S)).decode()
    assert line.startswith(f"{word} "), line
    return line.removeprefix(word).strip()


def signed(body: bytes, at_s: float, secret: bytes = SECRET, webhook_id: str = "one") -> dict[str, str]:
    """The headers of a delivery."""
    digest = hmac.new(secret, f"{webhook_id}.{int(at_s)}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": webhook_id, "webhook-timestamp": str(int(at_s)), "webhook-signature": f"v1,AAAA {signature}"}


def delivery(name: str) -> bytes:
    stored = {"batch_id": "b", "image": 1, "name": name, "store": "folder", "url": f"file:///images/{name}.png"}
    place = {"epoch": "e", "position": 14, "at_ms": 1, "stream": "b"}
    event = {**place, "kind": "image_uploaded", "data": stored}
    return json.dumps(
        {"type": "image_uploaded", "timestamp": "2026-11-30T00:00:00Z", "data": {"event": event}}
    ).encode()


async def check_submit(session: aiohttp.ClientSession, url: str) -> None:
    async def post(**more: Any) -> tuple[int, dict[str, Any]]:
        async with session.post(f"{url}/images", json=ORDER | more) as answer:
            return answer.status, await answer.json()

    first, again = await post(), await post()
    assert first == again
    assert first[0] == 202
    assert len(first[1]["names"]) == 2
    status, refusal = await post(order="order-2002", quantity=0)
    assert (status, refusal["code"]) == (422, "quantity_out_of_range")


async def check_webhook(session: aiohttp.ClientSession, url: str, out: asyncio.StreamReader) -> None:
    async def deliver(body: bytes, headers: dict[str, str]) -> int:
        async with session.post(f"{url}/webhooks/comfyledger", data=body, headers=headers) as answer:
            return answer.status

    now, body = time.time(), delivery("first")
    headers = signed(body, now)
    assert await deliver(body.replace(b"first", b"fifth"), headers) == 401
    assert await deliver(body, signed(body, now - 3_600)) == 401
    assert await deliver(body, signed(body, now, b"another secret")) == 401
    assert await deliver(body, {}) == 401
    assert await deliver(b"", headers) == 401
    assert [await deliver(body, headers), await deliver(body, headers)] == [204, 204]
    second = delivery("second")
    assert await deliver(second, signed(second, now, webhook_id="two")) == 204
    assert await said(out, "stored") == "first file:///images/first.png"
    assert await said(out, "stored") == "second file:///images/second.png", "a repeat is not done again"
