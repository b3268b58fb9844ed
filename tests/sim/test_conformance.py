"""Every recorded conversation with a real ComfyUI, held again with the stand-in, frame by frame and answer by answer.

A recording says what came in which order. The replay makes the same calls at the same points: the stand-in is held at
each place where a real machine takes time, and goes one step whenever the recording says that something more was sent.

What is not compared, and why:
- times (`timestamp`, `create_time`, `execution_*_time`) and headers that hold times, tags, versions: another clock;
- where the counting of prompts begins: a recording begins in the middle of a server's life. Differences are compared;
- the five random letters of temporary file names, and the folder that ComfyUI was installed in;
- lengths of files and previews: other pixels. That there are bytes is compared, for previews that there are many;
- the content type of answers without a body, which the recorder did not keep;
- in `current_inputs` of an error the printed tensors and graphs, which the recordings cut, and the order of `executed`,
  which is a set in ComfyUI: the recordings `interrupt` and `foreign_interrupt` have it either way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from comfyledger.sim.comfyui.faults import ALL_PLACES
from comfyledger.sim.comfyui.server import SimComfyUI, SimOptions, serve
from support.waiting import DEADLINE_S, PATIENT, until

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings").glob("comfyui-*/*.jsonl"))
PREVIEW_BYTES_MIN = 5_000
TIMES = {"timestamp", "create_time", "execution_start_time", "execution_end_time"}
LIVING_HEADERS = {"Etag", "Last-Modified", "Content-Length", "Date", "Server"}
FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}

# The recorder changed this request's colour from 71 to 72, for the next prompt, before it was written down. What ran is
# in the history: with 72 in both, the second prompt could not have run node 1 anew.
WRITTEN_TOO_LATE = {"415ce481-b458-4e2f-a6a8-9ac481dbf0a4"}

# `restart` kept no requests and its history died. Nodes and file names follow from its frames and its `/view` calls.
NEVER_WRITTEN = {
    "9d0afb02-916d-4bb1-82cc-ca9917acc20e": (1, []),
    "d86c9104-e1bc-4708-87f2-ad70e8257db6": (2, ["100"]),
    "29832b12-4e72-4214-a6a3-cc5996638888": (3, ["100"]),
}

Entry = dict[str, Any]


def blurred(color: int, blurs: list[str], prefix: str) -> dict[str, Any]:
    size = {"width": 64, "height": 64, "batch_size": 1, "color": color}
    graph: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": size}}
    last = "1"
    for node_id in blurs:
        inputs = {"image": [last, 0], "blur_radius": 31, "sigma": 10.0}
        graph[node_id] = {"class_type": "ImageBlur", "inputs": inputs}
        last = node_id
    graph["9"] = {"class_type": "SaveImage", "inputs": {"images": [last, 0], "filename_prefix": prefix}}
    return graph


def depth(entry: Entry) -> int | None:
    """The queue's length, in an entry that is a status frame."""
    message = entry.get("message", {})
    return message["data"]["status"]["exec_info"]["queue_remaining"] if message.get("type") == "status" else None


def in_order_of_cause(entries: list[Entry]) -> list[Entry]:
    """A call is written down when its answer came: a `status` that says the queue grew may stand before its POST."""
    ordered: list[Entry] = []
    for entry in entries:
        place = len(ordered)
        if entry.get("path") == "/prompt" and entry["method"] == "POST" and entry["status"] == 200:
            while place and grew(ordered, place - 1):
                place -= 1
        ordered.insert(place, entry)
    return ordered


def grew(entries: list[Entry], index: int) -> bool:
    now = depth(entries[index])
    before = next((d for e in reversed(entries[:index]) if (d := depth(e)) is not None), None)
    return now is not None and before is not None and now > before and entries[index - 1].get("path") != "/prompt"


class Replay:
    """One recording against one stand-in."""

    def __init__(self, entries: list[Entry], folder: Path) -> None:
        self.entries = in_order_of_cause(entries)
        self.folder = folder
        self.sockets: dict[str | None, ClientConnection] = {}
        self.client_id = ""
        self.last_file: dict[str, str] = {}
        self.bases: tuple[float, float] | None = None
        self.server: SimComfyUI
        self.http: aiohttp.ClientSession

    async def play(self) -> None:
        await self.start()
        async with aiohttp.ClientSession() as self.http:
            try:
                await self.warm_up()
                self.server.breakpoints.hold(ALL_PLACES)
                for index, entry in enumerate(self.entries):
                    await self.play_one(index, entry)
                for socket in self.sockets.values():
                    assert await self.waiting_frame(socket) is None
            finally:
                await asyncio.gather(*(socket.close() for socket in self.sockets.values()))
                await self.server.stop()

    async def play_one(self, index: int, entry: Entry) -> None:
        match entry["kind"]:
            case "http":
                await self.call(entry)
            case "ws" if "sid" in entry["message"]["data"]:
                await self.open(index, entry)
            case "ws":
                await self.expect_text(entry)
            case "ws-binary":
                await self.expect_preview(entry)
            case "ws-closed":
                await self.close(entry)
            case "note":
                await self.heed(entry["text"])
            case unknown:
                pytest.fail(f"entry {index} is of an unknown kind: {unknown}")

    async def start(self) -> None:
        # The recordings with previews were made with `--preview-method`; the others have no sampler.
        self.server = await serve(SimOptions(output=self.folder / "ComfyUI" / "output", preview_method="auto"))

    async def warm_up(self) -> None:
        """Put into the cache what the server had in it when the recording began."""
        frames = [e["message"] for e in self.entries if e["kind"] == "ws"]
        cached = next((f["data"] for f in frames if f["type"] == "execution_cached"), None)
        if not cached or not cached["nodes"]:
            return
        graph = self.graph_of(cached["prompt_id"])
        warm = {node_id: graph[node_id] for node_id in cached["nodes"]}
        for node_id in cached["nodes"]:
            warm[f"see-{node_id}"] = {"class_type": "PreviewImage", "inputs": {"images": [node_id, 0]}}
        async with self.http.post(f"{self.server.url}/prompt", json={"prompt": warm}) as response:
            assert response.status == 200, await response.text()
        await self.until_idle()

    # Sockets

    async def open(self, index: int, entry: Entry) -> None:
        label = entry.get("socket")
        if label in self.sockets:
            await self.close({"socket": label, "code": None})
        self.client_id = entry["message"]["data"]["sid"]
        url = f"{self.server.url.replace('http', 'ws', 1)}/ws?clientId={self.client_id}"
        self.sockets[label] = socket = await connect(url, max_size=2**26, **PATIENT)
        following = self.entries[index + 1]
        if following.get("message", {}).get("type") == "feature_flags":
            await socket.send(json.dumps(FLAGS))
        await self.expect_text(entry)

    async def close(self, entry: Entry) -> None:
        socket = self.sockets.pop(entry.get("socket"))
        if entry["code"] is not None:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), DEADLINE_S)
            assert socket.close_code == entry["code"]
            return
        assert await self.waiting_frame(socket) is None
        still_open = len(self.server.sockets.open) - 1
        await socket.close()
        await until(lambda: len(self.server.sockets.open) == still_open)

    async def expect_text(self, entry: Entry) -> None:
        frame = await self.next_frame(self.sockets[entry.get("socket")])
        assert isinstance(frame, str)
        got, expected = json.loads(frame), entry["message"]
        assert self.plain(got, own=True) == self.plain(expected, own=False)
        if got["type"] == "executed":
            self.last_file = got["data"]["output"]["images"][-1]

    async def expect_preview(self, entry: Entry) -> None:
        frame = await self.next_frame(self.sockets[entry.get("socket")])
        assert isinstance(frame, bytes)
        assert frame[:16].hex() == entry["first_bytes"]
        assert len(frame) > PREVIEW_BYTES_MIN
        assert int.from_bytes(frame[:4], "big") == entry["event_type"]
        if "metadata" in entry:
            end = 8 + int.from_bytes(frame[4:8], "big")
            assert json.loads(frame[8:end]) == entry["metadata"]
            assert frame[end:].startswith(b"\xff\xd8")
        else:
            assert int.from_bytes(frame[4:8], "big") == entry["image_type"]

    async def next_frame(self, socket: ClientConnection) -> str | bytes:
        """The next frame; if the stand-in is held and has sent all that it had, it goes one step."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                is_held = self.server.breakpoints.held_at is not None
                frame = await self.waiting_frame(socket)
                if frame is not None:
                    return frame
                if is_held:
                    self.server.breakpoints.step(1)
                await asyncio.sleep(0)

    async def waiting_frame(self, socket: ClientConnection) -> str | bytes | None:
        """A frame that was sent before now; after the pong nothing of it can be on its way."""
        await self.server.sockets.settled()
        await (await socket.ping())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                return await socket.recv()
        return None

    # Calls

    async def call(self, entry: Entry) -> None:
        async with self.request(entry) as response:
            body = await response.read()
        assert response.status == entry["status"], body
        if entry.get("content_type"):
            assert response.headers["Content-Type"] == entry["content_type"]
        self.compare_headers(entry.get("headers", {}), response.headers, body)
        self.compare_body(entry, body)

    @contextlib.asynccontextmanager
    async def request(self, entry: Entry) -> AsyncIterator[aiohttp.ClientResponse]:
        options: dict[str, Any] = {}
        sent = entry.get("request")
        if entry["method"] == "POST" and entry["path"] == "/prompt":
            sent = self.posted(entry)
        if isinstance(sent, str):
            options["data"] = sent.encode()
        elif entry["method"] == "POST" and sent is not None:
            options["json"] = sent
        elif entry["path"] == "/view":
            # `history_delete` did not keep what it asked for; it was the file of its only prompt.
            options["params"] = sent or entry.get("params") or self.last_file
        url = self.server.url + entry["path"]
        async with self.http.request(entry["method"], url, **options) as response:
            yield response

    def posted(self, entry: Entry) -> Any:
        """The body of a POST, as it was sent and not as it was written down."""
        if entry["status"] != 200:
            return entry["request"]
        prompt_id = entry["response"]["prompt_id"]
        graph = self.graph_of(prompt_id)
        sent = entry.get("request") or {"client_id": self.client_id, "prompt_id": prompt_id}
        if "prompt" in sent and prompt_id not in WRITTEN_TOO_LATE:
            assert sent["prompt"] == graph
        return sent | {"prompt": graph}

    def graph_of(self, prompt_id: str) -> dict[str, Any]:
        """The graph that the server ran, else the one that was sent, else the one that can be deduced."""
        calls = [e for e in self.entries if e["kind"] == "http" and isinstance(e.get("response"), dict)]
        kept = [e["response"][prompt_id]["prompt"][2] for e in calls if prompt_id in e["response"]]
        sent = [
            e["request"]["prompt"] for e in calls if e.get("request") and e["response"].get("prompt_id") == prompt_id
        ]
        if kept or sent:
            return (kept or sent)[0]  # type: ignore[no-any-return]
        number, blurs = NEVER_WRITTEN[prompt_id]
        return blurred(number, blurs, f"cap/rs-{self.client_id}/u_c_image_{number}")

    def compare_headers(self, expected: dict[str, str], got: Any, body: bytes) -> None:
        for name, value in expected.items():
            assert name in got
            if name not in LIVING_HEADERS:
                assert got[name] == value
        if expected:
            assert got["Content-Length"] == str(len(body))
            assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', got["Etag"])

    def compare_body(self, entry: Entry, body: bytes) -> None:
        expected = entry.get("response")
        if entry["path"] == "/view":
            length = expected if isinstance(expected, int) else entry.get("length", len(expected or ""))
            assert (len(body) > 0) == (length > 0)
        elif isinstance(expected, str):
            assert body.decode() == expected
        else:
            got = json.loads(body)
            if self.bases is None and "number" in got:
                self.bases = (got["number"], expected["number"])  # type: ignore[index]
            assert self.plain(got, own=True) == self.plain(expected, own=False)

    # Notes

    async def heed(self, text: str) -> None:
        if text.startswith("ComfyUI killed"):
            await self.server.stop()
        elif text.startswith("ComfyUI started again"):
            await self.start()
        elif text.startswith("second prompt is finished"):
            await self.until_idle()
        else:
            # These two say what the frames around them show.
            assert text.startswith(("socket A closed by client", "client sent feature_flags")), text

    async def until_idle(self) -> None:
        def step_or_idle() -> bool:
            if self.server.breakpoints.held_at:
                self.server.breakpoints.step(1)
            return self.server.is_idle

        await until(step_or_idle)

    # What counts as the same

    def plain(self, value: Any, own: bool) -> Any:
        match value:
            case dict():
                return {key: self.plain_field(key, inner, own) for key, inner in value.items()}
            case [int() | float() as number, str() as prompt_id, dict(), dict(), list()]:
                return [self.from_base(number, own), prompt_id, *(self.plain(inner, own) for inner in value[2:])]
            case list():
                return [self.plain(inner, own) for inner in value]
            case str():
                text = value.replace(str(self.folder), "/opt") if own else value
                return re.sub(r"^ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_?_", text)
        return value

    def plain_field(self, key: str, value: Any, own: bool) -> Any:
        if key in TIMES and isinstance(value, int):
            return "a time"
        if key in ("number", "priority"):
            return self.from_base(value, own)
        if key == "executed" and isinstance(value, list):
            return sorted(value)
        if key == "current_inputs":
            long = {name: len(texts) for name, texts in value.items() if name in ("images", "prompt")}
            return self.plain(value, own) | long
        return self.plain(value, own)

    def from_base(self, number: float, own: bool) -> float:
        assert self.bases is not None
        return number - self.bases[0 if own else 1]


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) >= 23


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_the_stand_in_says_what_comfyui_said(path: Path, tmp_path: Path) -> None:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    await Replay(entries, tmp_path).play()


async def test_a_recording_of_an_unknown_kind_fails(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="unknown kind"):
        await Replay([{"kind": "telepathy"}], tmp_path).play()
