"""The stand-in for Cloudinary in a thread of its own, so that the official package, which blocks, can talk to it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import cloudinary
import urllib3
from cloudinary.utils import api_sign_request
from PIL import Image

from comfyledger.sim.cloudinary.server import CloudinaryOptions, SimCloudinary, serve
from support.waiting import DEADLINE_S

SECRET = "a-secret-for-the-stand-in"
KEY = "123456789012345"
NOW_S = 1_800_000_000
HTTP = urllib3.PoolManager(retries=False)


class Cloud:
    """A running stand-in and a client that signs for itself. The clock stands at `NOW_S`."""

    def __init__(self, sim: SimCloudinary, root: Path) -> None:
        self.root = root
        self.url = sim.url
        self.control_url = sim.control_url
        self.cloudinary_url = sim.cloudinary_url

    def post(self, action: str, fields: Any, kind: str = "/image", **options: Any) -> urllib3.BaseHTTPResponse:
        url = f"{self.url}/v1_1/demo{kind}/{action}"
        return HTTP.request("POST", url, fields=fields, timeout=options.pop("timeout", DEADLINE_S), **options)

    def upload(self, content: bytes, kind: str = "/image", **fields: str) -> urllib3.BaseHTTPResponse:
        file = ("file", ("picture.png", content))
        return self.post("upload", [*signed(fields).items(), file], kind)

    def get(self, path: str, secret: str = SECRET, **query: Any) -> urllib3.BaseHTTPResponse:
        headers = urllib3.make_headers(basic_auth=f"{KEY}:{secret}")
        return HTTP.request("GET", f"{self.url}{path}", fields=query, headers=headers, timeout=DEADLINE_S)

    def admin(self, path: str, **query: Any) -> urllib3.BaseHTTPResponse:
        return self.get(f"/v1_1/demo/{path}", **query)

    def post_json(self, path: str, body: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        headers = urllib3.make_headers(basic_auth=f"{KEY}:{SECRET}")
        return HTTP.request("POST", f"{self.url}/v1_1/demo/{path}", json=body, headers=headers, timeout=DEADLINE_S)

    def control(self, **asked: Any) -> dict[str, Any]:
        answer = HTTP.request("POST", f"{self.control_url}/control", body=json.dumps(asked))
        assert answer.status == 200, answer.data
        return answer.json()  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        return HTTP.request("GET", f"{self.control_url}/control").json()  # type: ignore[no-any-return]

    def ledger(self, public_id: str | None = None) -> list[dict[str, Any]]:
        named = {"public_id": public_id} if public_id else {}
        return HTTP.request("GET", f"{self.control_url}/ledger", fields=named).json()["requests"]  # type: ignore[no-any-return]

    def assets(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        found = HTTP.request("GET", f"{self.control_url}/assets", fields={"prefix": prefix}).json()["assets"]
        return {asset["public_id"]: asset for asset in found}


@contextmanager
def running(root: Path, now_s: float | None = NOW_S, **options: Any) -> Iterator[Cloud]:
    """A stand-in on this root; `now_s` None lets the clock run."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    clock = {} if now_s is None else {"now": lambda: now_s}
    made = serve(CloudinaryOptions(root=root, **options), random=Random(root.name), **clock)
    sim = asyncio.run_coroutine_threadsafe(made, loop).result(10)
    try:
        yield Cloud(sim, root)
    finally:
        asyncio.run_coroutine_threadsafe(sim.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()
        HTTP.clear()


@contextmanager
def official(cloud: Cloud, secret: str = SECRET) -> Iterator[None]:
    """The official package on this stand-in; its configuration is one for the whole process, and put back."""
    cloudinary.reset_config()
    cloudinary.config(cloud_name="demo", api_key=KEY, api_secret=secret, upload_prefix=cloud.url)
    try:
        yield
    finally:
        cloudinary.reset_config()


def signed(fields: dict[str, str], secret: str = SECRET, **how: Any) -> dict[str, str]:
    """The fields with a timestamp, where they have none, and a signature."""
    stamped = {"timestamp": str(NOW_S), **fields}
    return {**stamped, "api_key": KEY, "signature": api_sign_request(stamped, secret, **how)}


def picture(color: int = 0, size: tuple[int, int] = (3, 4), kind: str = "PNG") -> bytes:
    """An image file; each color another one."""
    out = io.BytesIO()
    Image.new("RGB", size, (color % 256, color // 256, 7)).save(out, kind)
    return out.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
