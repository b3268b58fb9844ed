"""A picture that whole tests give as an input file, and a workflow that loads it."""

from __future__ import annotations

import hashlib
import io
import json

import aiohttp
from PIL import Image

from support.graphs import node
from support.processes import House
from support.wire_app import Frame


def picture(colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (colour, 0, 0)).save(out, "PNG", compress_level=0)
    return out.getvalue()


RED, DARK = picture(200), picture(40)
SHA256 = hashlib.sha256(RED).hexdigest()
NAME = f"comfyledger/{SHA256[:2]}/{SHA256}.png"
INPUT = {"input": f"sha256:{SHA256}"}


async def add(house: House, body: bytes, label: str = "app") -> None:
    """Add a file as `curl -T` does."""
    headers = {"Authorization": f"Bearer {house.daemon.token}", "Comfyledger-Client": label}
    url = f"{house.daemon.url}/v1/inputs"
    async with aiohttp.ClientSession() as http, http.put(url, data=body, headers=headers) as answer:
        said = json.loads(await answer.text())
        assert answer.status in {200, 201}, said
        assert said["input"] == f"sha256:{hashlib.sha256(body).hexdigest()}"


def loading(prefix: str = "p") -> Frame:
    return {
        "5": node("LoadImage", image="example.png"),
        "9": node("SaveImage", images=["5", 0], filename_prefix=prefix),
    }
