"""A stand-in for ComfyUI 0.33.0: the server, and the HTTP that it speaks.

It answers as the recordings in `tests/recordings` do, and a test replays every one of them against it. Pictures are
real PNG files, drawn instead of diffused. A second address, kept out of ComfyUI's own API, takes faults
(`POST /control`) and tells what was asked of it (`GET /ledger`). Both listen on the loopback address only.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from aiohttp import web

from comfyledger.sim.comfyui.checks.validate import Refusal, check
from comfyledger.sim.comfyui.faults import Breakpoints, Control, Faults, Ledger, Request
from comfyledger.sim.comfyui.folders import Folders
from comfyledger.sim.comfyui.installed import Installed
from comfyledger.sim.comfyui.pictures import Picture, save
from comfyledger.sim.comfyui.prompt_queue import Item, PromptQueue
from comfyledger.sim.comfyui.sockets import FEATURES, Sockets
from comfyledger.sim.comfyui.uploads import Uploads
from comfyledger.sim.comfyui.view import find, view
from comfyledger.sim.comfyui.worker import Shared, Worker

HOST: Final = "127.0.0.1"
VERSION: Final = "0.33.0"
BODY_BYTES_MAX: Final = 104_857_600
_SENT: Final = web.RequestKey("sent", dict[str, Any])
_JOB_NOT_FOUND: Final = {"error": "Job not found"}


class SimOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Port 0 takes a free one. Previews and other temporary files go beside `output`, into `<output>-temp`."""

    output: Path
    input: Path | None = None
    """The folder for files that loaders load. None: beside `output`, `<output>-input`. A new one gets `example.png`, as
    ComfyUI comes with one."""
    port: int = 0
    control_port: int = 0
    seconds_per_image: float = 0.0
    disable_metadata: bool = False
    preview_method: str = "none"
    """As `--preview-method`: "none" sends previews for prompts that ask for them only."""
    without_jobs: bool = False
    """Whether `/api/jobs` is unknown, as it was to earlier versions."""


class SimComfyUI:
    """A running stand-in; `serve` makes one. An async context manager that stops it at its end."""

    def __init__(self, options: SimOptions, now: Callable[[], float], random: Random) -> None:
        folders = _folders(options)
        self.url = self.control_url = ""
        self.ledger = Ledger()
        self.sockets = Sockets()
        self._installed = Installed(folders)
        self.breakpoints = Breakpoints(self.sockets.settled)
        self._faults = Faults(self.breakpoints, options.seconds_per_image)
        self._queue = PromptQueue(self._tell_depth)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sim-comfyui")
        self._shared = Shared(
            self._queue,
            self.sockets,
            self._faults,
            self.ledger,
            folders,
            not options.disable_metadata,
            options.preview_method,
            now,
            random,
        )
        self._worker = Worker(self._shared, self._pool)
        self._uploads = Uploads(folders, self._faults, self.ledger)
        self._has_jobs = not options.without_jobs
        self._held_back: Item | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self._stopping = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is pending or running."""
        return self._queue.remaining == 0

    async def start(self, options: SimOptions) -> None:
        """Listen, and begin to work."""
        self._shared.folders.output.mkdir(parents=True, exist_ok=True)
        _furnish(self._shared.folders.input)
        self.url = await self._listen(self._api(), options.port)
        self.control_url = await self._listen(self._control_api(), options.control_port)
        self._tasks = [
            asyncio.create_task(self._worker.work_forever()),
            asyncio.create_task(self.sockets.send_forever()),
            asyncio.create_task(self._worker.flood_forever()),
        ]

    async def stop(self) -> None:
        """End like a killed process: sockets are cut, what runs is lost, files stay."""
        self._stopping.set()
        self.sockets.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for runner in self._runners:
            await runner.cleanup()
        self._pool.shutdown()

    async def __aenter__(self) -> SimComfyUI:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _listen(self, app: web.Application, port: int) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, port).start()
        return f"http://{HOST}:{runner.addresses[0][1]}"

    def _api(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._write_down])
        routes = [
            web.get("/ws", self._get_ws),
            web.get("/prompt", self._get_prompt),
            web.post("/prompt", self._post_prompt),
            web.get("/history", self._get_history),
            web.get("/history/{prompt_id}", self._get_history),
            web.post("/history", self._post_history),
            web.get("/queue", self._get_queue),
            web.post("/queue", self._post_queue),
            web.post("/interrupt", self._post_interrupt),
            web.get("/view", self._get_view),
            web.post("/upload/image", self._uploads.post),
            web.get("/features", self._get_features),
            web.get("/system_stats", self._get_system_stats),
            web.get("/embeddings", self._get_embeddings),
            web.get("/object_info", self._get_object_info),
            web.get("/object_info/{node}", self._get_object_info),
        ]
        for route in routes:
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                app.router.add_route(method, route.path, route.handler)
                app.router.add_route(method, f"/api{route.path}", route.handler)
        if self._has_jobs:
            app.router.add_get("/api/jobs/{prompt_id}", self._get_job)
            app.router.add_post("/api/jobs/{prompt_id}/cancel", self._post_cancel)
        return app

    def _control_api(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ledger", self._get_ledger)
        app.router.add_get("/control", self._get_control)
        app.router.add_post("/control", self._post_control)
        return app

    @web.middleware
    async def _write_down(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Read the body once, and put the request into the ledger as soon as it is there: at once if it is a form,
        whose files are read as they come.
        """
        sent: Any = {}
        if request.body_exists and not request.content_type.startswith("multipart/"):
            try:
                sent = msgspec.json.decode(await request.read())
            except msgspec.DecodeError:
                sent = None
        request[_SENT] = sent if isinstance(sent, dict) else {}
        entry = Request(self.ledger.next_order(), request.method, request.path, _prompt_id(request))
        self.ledger.requests.append(entry)
        if not isinstance(sent, dict):
            return web.Response(status=500, text="500 Internal Server Error\n\nServer got itself in trouble")
        await asyncio.sleep(self._faults.delay_s(request.path))
        refused = self._faults.take_refusal(request.path)
        if refused is not None:
            return web.Response(status=refused)
        response: web.StreamResponse = await handler(request)
        return response

    def _tell_depth(self, remaining: int) -> None:
        self.sockets.send("status", {"status": {"exec_info": {"queue_remaining": remaining}}}, None)

    async def _get_ws(self, request: web.Request) -> web.StreamResponse:
        running = self._worker.is_at(request.query.get("clientId"))
        return await self.sockets.listen(request, self._queue.remaining, running)

    async def _get_prompt(self, _: web.Request) -> web.Response:
        return _json({"exec_info": {"queue_remaining": self._queue.remaining}})

    async def _post_prompt(self, request: web.Request) -> web.Response:
        sent = request[_SENT]
        self._installed.look()
        found = check(sent, self._installed)
        if isinstance(found, Refusal):
            return _json(found, status=400)
        number = sent["number"] if "number" in sent else self._queue.next_number(bool(sent.get("front")))
        prompt_id = sent.get("prompt_id") or str(uuid.uuid4())
        extra = {**sent.get("extra_data", {}), "create_time": round(self._shared.now() * 1000)}
        if "client_id" in sent:
            extra["client_id"] = sent["client_id"]
        self._put(Item(number, prompt_id, dict(found.graph), extra, found.outputs))
        if self._faults.take_lost_answer():
            await self._stopping.wait()
        return _json({"prompt_id": prompt_id, "number": number, "node_errors": found.node_errors})

    def _put(self, item: Item) -> None:
        """Queue a prompt, and the one that is to come twice a second time."""
        doubling = self._faults.take_doubling()
        again = [self._held_back, item if doubling == "at_once" else None]
        self._held_back = item if doubling == "later" else None
        self._queue.put(item)
        for each in again:
            if each is not None:
                self._queue.put(msgspec.structs.replace(each, number=self._queue.next_number(front=False)))

    async def _get_history(self, request: web.Request) -> web.Response:
        return _json(self._queue.history(request.match_info.get("prompt_id")))

    async def _post_history(self, request: web.Request) -> web.Response:
        if request[_SENT].get("clear"):
            self._queue.clear_history()
        for prompt_id in request[_SENT].get("delete", []):
            self._queue.delete_history(prompt_id)
        return web.Response()

    async def _get_queue(self, _: web.Request) -> web.Response:
        return _json(self._queue.queue())

    async def _post_queue(self, request: web.Request) -> web.Response:
        if request[_SENT].get("clear"):
            self.ledger.taken_out.extend(self._queue.clear())
        for prompt_id in request[_SENT].get("delete", []):
            self._queue.delete(prompt_id)
        return web.Response()

    async def _post_interrupt(self, request: web.Request) -> web.Response:
        prompt_id = request[_SENT].get("prompt_id")
        if prompt_id is None:
            self.ledger.taken_out.extend(self._queue.running)
        if prompt_id is None or self._queue.is_running(prompt_id):
            self._worker.interrupt()
        return web.Response()

    async def _get_job(self, request: web.Request) -> web.Response:
        job = self._queue.job(request.match_info["prompt_id"])
        return _json(job) if job else _json(_JOB_NOT_FOUND, status=404)

    async def _post_cancel(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        if self._queue.is_running(prompt_id):
            self._worker.interrupt()
            return _json({"cancelled": True})
        return _json({"cancelled": self._queue.delete(prompt_id)})

    async def _get_view(self, request: web.Request) -> web.StreamResponse:
        wanted = find(request.query, self._shared.folders)
        if isinstance(wanted, int):
            return web.Response(status=wanted)
        return await view(request, wanted, self._faults.take_view(str(wanted)))

    async def _get_features(self, _: web.Request) -> web.Response:
        return _json(FEATURES)

    async def _get_system_stats(self, _: web.Request) -> web.Response:
        system = {
            "os": "linux",
            "ram_total": 0,
            "ram_free": 0,
            "comfyui_version": VERSION,
            "python_version": "3.11",
            "pytorch_version": "none: a stand-in",
            "embedded_python": False,
            "argv": ["main.py"],
        }
        device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": 0, "vram_free": 0}
        return _json({"system": system, "devices": [device]})

    async def _get_embeddings(self, _: web.Request) -> web.Response:
        return _json(self._installed.lists["embeddings"])

    async def _get_object_info(self, request: web.Request) -> web.Response:
        self._installed.look()
        return _json(self._installed.object_info(request.match_info.get("node")))

    async def _get_ledger(self, _: web.Request) -> web.Response:
        return _json(self.ledger.state())

    async def _get_control(self, _: web.Request) -> web.Response:
        return _json(self._control_state())

    async def _post_control(self, request: web.Request) -> web.Response:
        try:
            control = msgspec.json.decode(await request.read(), type=Control)
        except msgspec.DecodeError as error:
            return _json({"error": str(error)}, status=400)
        self._faults.apply(control)
        self._installed.change(control.lists, control.missing_classes)
        self.sockets.deaf = self._faults.deaf
        if control.drop_sockets:
            self.sockets.drop()
        if control.break_sockets:
            await self.sockets.break_all(control.break_sockets)
        if control.mend_sockets:
            self.sockets.mend()
        if control.big_frame_bytes:
            self.sockets.send_big(control.big_frame_bytes)
        if control.delete_files_of:
            self._delete_files_of(control.delete_files_of)
        if control.forget:
            await self._forget()
        return _json(self._control_state())

    def _control_state(self) -> dict[str, object]:
        sockets = {"sockets": len(self.sockets.open), "listening": self.sockets.listening}
        return self._faults.state() | self._installed.state() | sockets

    def _delete_files_of(self, prompt_id: str) -> None:
        for file in self.ledger.files:
            if (file.prompt_id, file.type) == (prompt_id, "output"):
                (self._shared.folders.output / file.path).unlink(missing_ok=True)

    async def _forget(self) -> None:
        self._tasks[0].cancel()
        await asyncio.gather(self._tasks[0], return_exceptions=True)
        self._queue.forget()
        self.sockets.forget()
        self._tasks[0] = asyncio.create_task(self._worker.work_forever())


async def serve(
    options: SimOptions, *, now: Callable[[], float] = time.time, random: Random | None = None
) -> SimComfyUI:
    """Start a stand-in on the loopback address. Raises OSError when a port is taken."""
    running = SimComfyUI(options, now, random or Random())  # noqa: S311 - names of temporary files
    await running.start(options)
    return running


def _folders(options: SimOptions) -> Folders:
    output = Path(os.path.abspath(options.output))
    beside = output.with_name(f"{output.name}-input")
    return Folders(output, output.with_name(f"{output.name}-temp"), Path(os.path.abspath(options.input or beside)))


def _furnish(folder: Path) -> None:
    """Make the input folder if it is missing. One that is there stays as it is, empty too."""
    if not folder.exists():
        folder.mkdir(parents=True)
        save(Picture(64, 64, seed="example"), folder / "example.png", {})


def _prompt_id(request: web.Request) -> str | None:
    sent = request[_SENT]
    named = request.match_info.get("prompt_id") or sent.get("prompt_id")
    deleted = sent.get("delete") or [None]
    found = named or deleted[0]
    return found if isinstance(found, str) else None


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")
