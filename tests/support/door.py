"""A door of the real daemon in the test's own process, in front of a stand-in, and a socket that sends raw frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from comfyledger import app as composition
from comfyledger import settings
from comfyledger.sim.comfyui.server import SimComfyUI, SimOptions, serve
from support.waiting import DEADLINE_S, PATIENT, until
from support.wire_app import App, Frame

ONE: Mapping[str, str] = {"main": ""}
OUTPUTS = {"main": "output"}


class Raw:
    """A socket that sends whatever it is given."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def exchange(self, frame: str | bytes) -> Frame:
        """The answer to a frame. Where a store is slow, a frame that says so comes before the answer."""
        await self.socket.send(frame, text=True)
        answer = await self.receive()
        return await self.receive() if answer["type"] == "waiting" else answer

    async def receive(self) -> Frame:
        async with asyncio.timeout(DEADLINE_S):
            return dict(json.loads(await self.socket.recv()))

    async def ask(self, kind: str, **data: Any) -> Frame:
        return await self.exchange(json.dumps({"type": kind, "id": "asked", "data": data}))


class Door:
    """The open door of a daemon in this process."""

    def __init__(self, folder: Path, url: str, daemon: composition.Daemon, sims: dict[str, SimComfyUI]) -> None:
        self.folder = folder
        self.url = url
        self.context = daemon.context
        self.backends = daemon.backends
        self.reload = daemon.reload
        self.retention = daemon.background.retention
        self.sims = sims
        self.sim = sims["main"]

    @property
    def token(self) -> str:
        return (self.folder / "state" / "token").read_text().strip()

    @property
    def position(self) -> int:
        return self.context.engine.view.position

    def connect(self, **more: Any) -> connect:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.url.replace('http', 'ws', 1)}/ws"
        return connect(url, **{"additional_headers": headers, "max_size": 2**26, "proxy": None, **PATIENT, **more})

    @asynccontextmanager
    async def raw(self, **more: Any) -> AsyncIterator[Raw]:
        async with self.connect(**more) as socket:
            yield Raw(socket)

    @asynccontextmanager
    async def app(self, label: str | None = None) -> AsyncIterator[App]:
        async with self.connect() as socket:
            app = App(socket)
            try:
                if label is not None:
                    await app.ask("hello", client=label)
                yield app
            finally:
                await app.close()

    @contextmanager
    def unchanged(self, held: bool = False) -> Iterator[None]:
        """What happens within must leave the log as it is. `held`: something holds the work that is open.

        Work that goes on writes to the log whenever it likes, so that the comparison would fail now and then.
        """
        view = self.context.engine.view
        rests = held or view.is_paused("everything") or not any(view.open_counts().values())
        assert rests, f"work goes on: {view.open_counts()}"
        before = self.position
        yield
        assert self.position == before


@asynccontextmanager
async def opened(
    folder: Path,
    sections: str = "",
    seconds_per_image: float = 0.0,
    backends: Mapping[str, str] = ONE,
    top: str = "",
    store: str = 'root = "images"',
    port: int = 0,
) -> AsyncIterator[Door]:
    """A daemon with its stand-ins. `sections` come after [door], so that its keys can come first. `backends`: more keys
    of each ComfyUI, by name; one is `main`. `top`: keys that are in no section. `store`: those of the store `folder`.
    """
    config = folder / "config.toml"
    async with AsyncExitStack() as stack:
        sims: dict[str, SimComfyUI] = {}
        for name in backends:
            options = SimOptions(
                output=folder / OUTPUTS.get(name, f"output-{name}"), seconds_per_image=seconds_per_image
            )
            sims[name] = await stack.enter_async_context(await serve(options))
        comfyui = "\n".join(f'[comfyui.{name}]\nurl = "{sims[name].url}"\n{keys}' for name, keys in backends.items())
        config.write_text(f"""
            state_dir = "state"
            {top}
            {comfyui}
            [stores.folder]
            kind = "folder"
            {store}
            [door]
            port = {port}
            {sections}
        """)
        found = settings.load(config)
        daemon = await composition.build(found, stack)
        tasks = [asyncio.create_task(work) for work in daemon.loops()]
        try:
            url = (await composition.open_server(found, daemon.context, stack)).url
            await until(
                lambda: all(backend.watcher.is_up for backend in daemon.backends.all.values()), "ComfyUI is connected"
            )
            yield Door(folder, url, daemon, sims)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def open_door() -> Callable[..., AbstractAsyncContextManager[Door]]:
    """For tests that open a door with a configuration of their own."""
    return opened


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """One door for all tests of a module that change nothing."""
    async with opened(
        tmp_path_factory.mktemp("door"), "[limits]\ngraph_bytes_max = 20_000\nquantity_max = 100"
    ) as made:
        yield made
