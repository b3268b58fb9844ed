"""A backend with FastAPI: one route asks for images, another takes the daemon's webhooks.

WEBHOOK_SECRET=whsec_… uvicorn fastapi_app:app
"""

import base64
import hmac
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from comfyledger.client import Client, events
from comfyledger.errors import Refused
from comfyledger.wire import WebhookPayload

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
BODY_BYTES_MAX = 1_048_576
client = Client(name="shop", timeout_s=20, wait=True)


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    async with client:
        yield


app = FastAPI(lifespan=connected)


class Order(BaseModel):
    order: str
    username: str
    character: str
    quantity: int


@app.post("/images", status_code=202)
async def images(order: Order) -> dict[str, object]:
    """The order's own id: if the app sends the order again, it gets the same images."""
    batch = await client.submit(
        request_id=order.order, username=order.username, character=order.character, quantity=order.quantity
    )
    return {"batch_id": batch.batch_id, "names": batch.names}


@app.exception_handler(Refused)
async def refused(_: Request, refusal: Refused) -> JSONResponse:
    may_pass = refusal.retry_after_s > 0 or refusal.code in {"not_running", "timeout"}
    said = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}
    return JSONResponse(said, status_code=503 if may_pass else 422)


def is_genuine(headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks: signed with the secret over id, time and bytes, and at most five minutes old."""
    webhook_id, sent, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (sent.isascii() and sent.isdigit()) or abs(time.time() - int(sent)) > 300:
        return False
    digest = hmac.digest(SECRET, f"{webhook_id}.{sent}.".encode() + body, "sha256")
    wanted = b"v1," + base64.b64encode(digest)
    return any(hmac.compare_digest(wanted, one.encode()) for one in given.split())


async def body_of(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413)
    return body


done: set[str] = set()  # In a real app a table: a delivery comes again until it is answered, also after a restart.


@app.post("/webhooks/comfyledger", status_code=204)
async def webhook(request: Request) -> None:
    body = await body_of(request)
    if not is_genuine(request.headers, body):
        raise HTTPException(401)
    webhook_id = request.headers["webhook-id"]
    if webhook_id in done:
        return
    match msgspec.json.decode(body, type=WebhookPayload).data.event.data:
        case events.ImageUploaded(name=name, url=url):
            print("stored", name, url, flush=True)
        case events.BatchSettled(batch_id=batch_id):
            print("settled", batch_id, flush=True)
    done.add(webhook_id)
