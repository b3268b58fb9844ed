"""A stand-in with a client beside it, for the tests of what no recording holds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from comfyledger.comfyui import answers
from comfyledger.comfyui import messages as m
from comfyledger.sim.comfyui.server import SimComfyUI, SimOptions, serve
from support.waiting import DEADLINE_S, PATIENT, until

PREFIX = "comfyledger/b1/1-a1"


class Box:
    """A stand-in with a client beside it."""

    def __init__(self, sim: SimComfyUI, http: aiohttp.ClientSession, output: Path) -> None:
        self.sim = sim
        self.http = http
        self.output = output
        self.input = output.with_name(f"{output.name}-input")

    async def get(self, path: str, **params: str) -> tuple[int, bytes]:
        async with self.http.get(self.sim.url + path, params=params) as response:
            return response.status, await response.read()

    async def post(self, path: str, body: Any = None) -> tuple[int, bytes]:
        async with self.http.post(self.sim.url + path, json=body) as response:
            return response.status, await response.read()

    async def upload(
        self, content: bytes, filename: str = "a.png", path: str = "/upload/image", **fields: str
    ) -> tuple[int, Any]:
        """The status, and the answer or None."""
        form = aiohttp.FormData(fields, quote_fields=False, default_to_multipart=True)
        form.add_field("image", content, filename=filename, content_type="application/octet-stream")
        async with self.http.post(self.sim.url + path, data=form) as response:
            return response.status, await response.json() if response.status == 200 else None

    async def submit(self, graph: dict[str, Any], **more: Any) -> str:
        body = {"prompt": graph, "prompt_id": str(uuid.uuid4()), "client_id": "me", **more}
        answer = answers.parse_prompt_answer(*await self.post("/prompt", body))
        assert isinstance(answer, answers.PromptAnswer)
        return answer.prompt_id

    async def control(self, **asked: Any) -> dict[str, Any]:
        async with self.http.post(f"{self.sim.control_url}/control", json=asked) as response:
            assert response.status == 200, await response.text()
            return await response.json()  # type: ignore[no-any-return]

    async def ledger(self) -> dict[str, Any]:
        async with self.http.get(f"{self.sim.control_url}/ledger") as response:
            return await response.json()  # type: ignore[no-any-return]

    async def history(self, prompt_id: str) -> answers.HistoryEntry | None:
        return answers.parse_history((await self.get(f"/history/{prompt_id}"))[1], prompt_id)

    async def finished(self, prompt_id: str) -> answers.HistoryEntry:
        entry = await until(lambda: self.history(prompt_id), f"{prompt_id} is in the history")
        assert isinstance(entry, answers.HistoryEntry)
        return entry

    async def held_at(self, place: str) -> None:
        await until(lambda: self.sim.breakpoints.held_at == place)

    def connect(self, client_id: str = "me") -> connect:
        return connect(f"{self.sim.url.replace('http', 'ws', 1)}/ws?clientId={client_id}", **PATIENT)

    @staticmethod
    def graph(color: int = 1, prefix: str = PREFIX, batch_size: int = 1, px: int = 8) -> dict[str, Any]:
        size = {"width": px, "height": px, "batch_size": batch_size, "color": color}
        return {
            "1": {"class_type": "EmptyImage", "inputs": size},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
        }

    @staticmethod
    def sampled(seed: int, steps: int = 3) -> dict[str, Any]:
        def text(words: str) -> dict[str, Any]:
            return {"class_type": "CLIPTextEncode", "inputs": {"text": words, "clip": ["4", 1]}}

        links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
        knobs = {
            "seed": seed,
            "steps": steps,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        }
        return {
            "3": {"class_type": "KSampler", "inputs": knobs | links},
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "random-sd15.safetensors"}},
            "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
            "6": text("a portrait"),
            "7": text("blurry"),
            "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": f"s/{uuid.uuid4()}"}},
        }

    @staticmethod
    async def read_until(socket: ClientConnection, last: type) -> list[m.Message]:
        read: list[m.Message] = []
        async with asyncio.timeout(DEADLINE_S):
            while not (read and isinstance(read[-1], last)):
                read.append(m.parse_text(await socket.recv()))
        return read


@pytest.fixture
async def box(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """A test may give further options of the stand-in."""
    output = tmp_path / "output"
    options = SimOptions(output=output, **getattr(request, "param", {}))
    async with await serve(options) as sim, aiohttp.ClientSession() as http:
        yield Box(sim, http, output)
