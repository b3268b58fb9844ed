"""The house of the whole-system tests: stand-in and daemon as processes, and what lies on the disk.

What an app sees (`wire_app`) is compared with the files and with what the stand-in says was asked of it. Processes are
started and ended by their ids, and their output goes to files that outlive a test that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from PIL import Image
from websockets.asyncio.client import connect

from comfyledger import crash_points
from support.ports import KeptPort
from support.waiting import DEADLINE_S, PATIENT, pause, until
from support.warm_start import Forked
from support.wire_app import App, Frame

# ---- processes

PNG_END = b"IEND\xaeB`\x82"
SWEEP_S = 0.5
"""After how much silence a house's daemon looks its prompts up."""
PROBE = [f"comfyledger.core.scheduling.{module}.PROBE_FIRST_MS" for module in ("lanes", "pending_work")]
QUICK = {
    **dict.fromkeys(PROBE, 100),
    "comfyledger.engine.engine.STORAGE_RETRY_S": 0.1,
    "comfyledger.workers.backends.mover.LOOK_EVERY_S": 0.1,
    "comfyledger.workers.spool.disk_guard.CHECK_EVERY_S": 0.1,
    "comfyledger.workers.spool.disks.LOOK_EVERY_S": 0.1,
    "comfyledger.workers.stores.first_use.ASK_FIRST_S": 0.05,
    "comfyledger.workers.stores.prepare.DELAY_FIRST_S": 0.1,
}
"""How soon a house's daemon tries again. Tests of how often it tries leave the constants as they are."""
ENDS_WITHIN_S = 10.0
"""Then it is killed."""
AT_BIRTH = {"LD_PRELOAD", "PYTHONPATH"}
"""Variables that an interpreter looks at once, before anything else."""


class Process:
    """One program of ours, with its standard output and error in files.

    It is forked from a warm server, unless it is `cold`, not a module of ours, or told something that only a new
    interpreter hears.
    """

    cold = False

    def __init__(self, name: str, folder: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.out = folder / f"{name}.out"
        self.environment: dict[str, str] = {}
        self.constants: Mapping[str, float] = {}
        """Constants of the source that are others in this process, by module and name, if it is forked."""
        self._arguments = [sys.executable, "-m", *arguments]
        self._popen: subprocess.Popen[bytes] | Forked | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def start(self) -> None:
        ours = ("COMFYLEDGER_", "CLOUDINARY_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)} | self.environment
        self.out.write_bytes(b"")
        if self._arguments[:2] == [sys.executable, "-m"] and not self.cold and not AT_BIRTH & environment.keys():
            self._popen = Forked(self._arguments[2:], environment, self.out, self.log, self.constants)
            return
        with self.out.open("wb") as out, self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=environment
            )

    def check_alive(self) -> None:
        code = self.exit_code()
        assert code is None, f"{self.name} ended with {code}: {self.last_words()}"

    def signal(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code. What has ended already gives the code it had."""
        assert self._popen is not None
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        return self._popen.wait(timeout=DEADLINE_S)

    def end(self) -> None:
        """End it whatever it does."""
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.terminate()
                self._popen.wait(timeout=ENDS_WITHIN_S)
            self._popen.kill()
            self._popen.wait()

    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._popen is not None
        return self._popen.poll()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""


class StandIn(Process):
    """The stand-in for ComfyUI. A restart keeps its ports and its folders, and forgets the rest, as ComfyUI."""

    def __init__(self, folder: Path, seconds_per_image: float) -> None:
        self.output = folder / "comfyui-output"
        self.input = folder / "comfyui-output-input"
        self._folder = folder
        self._speed = ["--seconds-per-image", str(seconds_per_image)]
        self.url = self._control = ""
        self._ports: list[KeptPort] = []
        self._asked_before: list[Frame] = []
        self._uploaded_before: list[Frame] = []
        super().__init__("comfyui", folder, self._words(0, 0))

    def _words(self, port: int, control: int) -> list[str]:
        ports = ["--port", str(port), "--control-port", str(control)]
        return ["comfyledger.sim", "comfyui", *ports, "--output", str(self.output), *self._speed]

    async def begin(self) -> None:
        """Start it, after an end under the addresses that it had."""
        self._ports = self._ports or [KeptPort(), KeptPort()]
        self._arguments = [sys.executable, "-m", *self._words(*(port.number for port in self._ports))]
        self.start()

        def listening() -> bool:
            self.check_alive()
            return self.out.read_text().endswith("\n")

        await until(listening, "the stand-in listens")
        said = json.loads(self.out.read_text())
        self.url, self._control = said["url"], said["control"]

    async def restart(self, away_s: float = 0.0) -> None:
        """Kill it and start it again under the same addresses, after so many seconds."""
        self.kill()
        await pause(away_s)
        await self.begin()

    def kill(self) -> None:
        """End it. What was asked of it is remembered here."""
        self._asked_before, self._uploaded_before = self.requests(), self.uploads()
        self.signal(signal.SIGKILL)

    def control(self, **asked: Any) -> Frame:
        return self._call("/control", json.dumps(asked).encode())

    def ledger(self) -> Frame:
        return self._call("/ledger")

    def _call(self, path: str, body: bytes | None = None) -> Frame:
        with urllib.request.urlopen(self._control + path, body, timeout=DEADLINE_S) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def requests(self) -> list[Frame]:
        """What was asked, before a restart as well."""
        return [*self._asked_before, *self.ledger()["requests"]]

    def uploads(self) -> list[Frame]:
        """The files that were uploaded, in order, before a restart as well."""
        return [*self._uploaded_before, *self.ledger()["uploads"]]

    def posted(self) -> list[str]:
        """The prompt ids in the order in which they were posted."""
        return [one["prompt_id"] for one in self.requests() if (one["method"], one["path"]) == ("POST", "/prompt")]

    def ended(self) -> list[str]:
        """How prompts ended, in order."""
        return [one["outcome"] for one in self.ledger()["prompts"]]

    async def let_run(self, count: int) -> None:
        """Let so many prompts run to their end while each is held at its start: it works no faster than a test asks."""
        for ended in range(len(self.ended()) + 1, len(self.ended()) + 1 + count):
            await until(lambda: self.control()["held_at"] == "start", "a prompt is about to run")
            self.control(step=1)
            await until(partial(self._have_ended, ended), "it has run")

    def _have_ended(self, count: int) -> bool:
        return len(self.ended()) >= count

    def queue(self) -> Frame:
        return self._api("/queue")

    def history(self, prompt_id: str) -> Frame:
        return self._api(f"/history/{prompt_id}")

    def _api(self, path: str) -> Frame:
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
            return json.load(answer)  # type: ignore[no-any-return]


class EarlierStandIn(StandIn):
    """One that knows no `/api/jobs`."""

    def _words(self, port: int, control: int) -> list[str]:
        return [*super()._words(port, control), "--without-jobs"]


class Daemon(Process):
    """The daemon with its configuration and its state folder."""

    def __init__(self, folder: Path, config: Path, state: Path) -> None:
        self.state = state
        super().__init__("daemon", folder, ["comfyledger", "run", "--config", str(config)])
        self.constants = QUICK

    @property
    def token(self) -> str:
        return (self.state / "token").read_text().strip()

    @property
    def url(self) -> str:
        return str(json.loads((self.state / "door.json").read_text())["url"])

    async def begin(self) -> None:
        self.start()

        def open_door() -> bool:
            self.check_alive()
            with contextlib.suppress(FileNotFoundError):
                return bool(json.loads((self.state / "door.json").read_text())["pid"] == self.pid)
            return False

        await until(open_door, "the daemon opens its door")

    def peak_bytes(self) -> int:
        """The most memory that the process ever held (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def facts(self) -> list[Frame]:
        """Its log, a fact a line; a line that is no fact (a traceback of Python's own) is one of level `error`."""
        return [_fact(line) for line in self.log.read_text(errors="replace").splitlines()]

    def errors(self) -> list[Frame]:
        return [fact for fact in self.facts() if fact.get("level") in {"error", "critical"}]


def _fact(line: str) -> Frame:
    try:
        fact = json.loads(line)
    except ValueError:
        return {"level": "error", "event": line}
    return fact if isinstance(fact, dict) else {"level": "error", "event": line}


# ---- the house


class House:
    """A stand-in, a daemon in front of it and a folder of images, all below one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.state = folder / "state"
        self.comfyui = StandIn(folder, 0.0)
        self.daemon = Daemon(folder, folder / "config.toml", self.state)
        self.expected_errors: set[str] = set()

    async def begin(self, config: str = "", seconds_per_image: float = 0.0, depth: int = 3) -> None:
        """Start both. `config` are sections beside those that the house writes itself."""
        self.comfyui = StandIn(self.folder, seconds_per_image)
        await self.comfyui.begin()
        self.configure(config, depth)
        await self.daemon.begin()

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        """Write the configuration. `comfyui` are further keys of its section, `url` what stands before it."""
        text = f"""
            state_dir = "{self.state}"
            {config}
            [door]
            port = 0
            [comfyui.main]
            url = "{url or self.comfyui.url}"
            queue_depth = {depth}
            sweep_interval_s = {SWEEP_S}
            {comfyui}
            [stores.folder]
            kind = "folder"
            root = "{self.images}"
        """
        (self.folder / "config.toml").write_text(text)

    @property
    def every_standin(self) -> list[StandIn]:
        return [self.comfyui]

    @property
    def backend(self) -> str:
        """What the configuration calls `comfyui`."""
        return "main"

    def end(self) -> None:
        self.daemon.end()
        self.comfyui.end()

    @contextlib.asynccontextmanager
    async def app(self, label: str | None = None) -> AsyncIterator[App]:
        url = self.daemon.url.replace("http", "ws", 1) + "/ws"
        headers = {"Authorization": f"Bearer {self.daemon.token}"}
        async with connect(url, additional_headers=headers, max_size=2**24, proxy=None, **PATIENT) as socket:
            app = App(socket)
            try:
                if label is not None:
                    await app.ask("hello", client=label)
                yield app
            finally:
                await app.close()

    def stored(self) -> dict[str, Path]:
        """The files of the store by public id; nothing but finished images may be there."""
        files = [path for path in self.images.rglob("*") if path.is_file() and path.name != ".comfyledger"]
        return {str(path.relative_to(self.images).with_suffix("")): path for path in files}

    def rendered(self, batch_id: str) -> dict[str, bytes]:
        """The pixels of the whole files that the stand-in wrote for a batch, by file name: a kill may cut others."""
        folder = self.comfyui.output / "comfyledger" / batch_id.lower()
        found: dict[str, bytes] = {}
        for path in folder.iterdir():
            if path.read_bytes().endswith(PNG_END):
                with contextlib.suppress(OSError, SyntaxError):
                    found[path.name] = self.drawn(path)
        return found

    def check_stored(self, *batches: Frame) -> None:
        """Every image of these batches lies under its name, whole, with the pixels drawn for its own number."""
        files = self.stored()
        for batch in batches:
            rendered = self.rendered(batch["batch_id"])
            prompts: dict[int, list[int]] = {}
            for image in batch["images"]:
                number = image["number"]
                mates = prompts.setdefault(image["prompt"], [])
                mates.append(number)
                name = re.compile(rf"{mates[0]}-a\d+_{len(mates):05}_\.png")
                own = {drawn for file, drawn in rendered.items() if name.fullmatch(file)}
                assert image["state"] == "stored"
                assert image["name"].endswith(f"_image_{number}")
                assert self.drawn(files[image["public_id"]]) in own, image["public_id"]

    @staticmethod
    def drawn(path: Path) -> bytes:
        """The pixels of a file that is whole."""
        raw = path.read_bytes()
        assert raw.endswith(PNG_END), path
        with Image.open(io.BytesIO(raw)) as image:
            return image.convert("RGB").tobytes()


def chunk_kinds(path: Path) -> set[bytes]:
    """The kinds of the chunks of a PNG."""
    raw, at, kinds = path.read_bytes(), 8, set[bytes]()
    while at < len(raw):
        (length,) = struct.unpack(">I", raw[at : at + 4])
        kinds.add(raw[at + 4 : at + 8])
        at += 12 + length
    return kinds


class Doomed(Daemon):
    """The daemon with a place that kills it, or with none."""

    def __init__(self, house: House, place: str = "") -> None:
        super().__init__(house.folder, house.folder / "config.toml", house.state)
        self.environment = {crash_points.VARIABLE: place}

    def end(self) -> None:
        if self._popen is not None:
            self.signal(signal.SIGKILL)

    def is_open(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return bool(json.loads((self.state / "door.json").read_text())["pid"] == self.pid)
        return False


# ---- between the daemon and the stand-in


async def _passed_on(request: web.Request, beyond: aiohttp.ClientWebSocketResponse) -> web.WebSocketResponse:
    """A websocket to the one beyond, frame by frame, until one of them closes."""
    here = web.WebSocketResponse(max_msg_size=0)
    await here.prepare(request)

    async def frames(source: AsyncIterable[aiohttp.WSMessage], target: Any) -> None:
        async for frame in source:
            await (target.send_str if frame.type is aiohttp.WSMsgType.TEXT else target.send_bytes)(frame.data)

    ways = [asyncio.ensure_future(frames(here, beyond)), asyncio.ensure_future(frames(beyond, here))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
    await here.close()
    return here


@contextlib.asynccontextmanager
async def in_between(
    url: str,
    asked: Callable[[str, bytes], bytes] = lambda _, body: body,
    answered: Callable[[str, bytes], bytes] = lambda _, body: body,
) -> AsyncIterator[str]:
    """The stand-in with what is asked and answered changed on the way; both get the path and the body."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        if request.path == "/ws":
            async with session.ws_connect(url + request.path_qs, max_msg_size=0) as beyond:
                return await _passed_on(request, beyond)
        body = asked(request.path, await request.read())
        async with session.request(request.method, url + request.path_qs, data=body) as answer:
            return web.Response(status=answer.status, body=answered(request.path, await answer.read()))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    # aiohttp reads no answer to a close frame once it shuts down, and waits 10 s for one if it may.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        async with aiohttp.ClientSession() as session:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
