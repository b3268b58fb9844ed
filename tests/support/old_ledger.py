"""What a killed daemon of an old release left, opened again: unpacked, and with stand-ins around it.

`fixtures/README.md` says what is in it and how it was made.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from websockets.asyncio.client import connect

from support.cloudinary_process import Account
from support.processes import Doomed, House
from support.waiting import DEADLINE_S, PATIENT, until
from support.wire_app import App, Frame

FIXTURES = Path(__file__).parent.parent / "fixtures"
Release = Literal["cc50378", "a7c63d2"]

Knows = Literal["everything", "files", "nothing"]
"""What ComfyUI still has of the open prompts: all of them and their files, only files in its output folder, or nothing.
"""


def unpack(folder: Path, release: Release | Literal["ac55d0a", "c6c8638"], *, output: bool = True) -> Frame:
    """Everything that a release left, below a folder; what is expected of it. `output`: ComfyUI's files, too."""
    with tarfile.open(FIXTURES / f"ledger-{release}.tar.xz") as archive:
        members = [one for one in archive if output or not one.name.startswith("comfyui-output/")]
        archive.extractall(folder, members, filter="data")
    return json.loads((folder / "expected.json").read_text())  # type: ignore[no-any-return]


class OldHouse(House):
    """Two accounts that have what they had, and a ComfyUI that knows this or that."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.left: Frame = {}
        self.accounts = {"cloud": Account(folder), "archive": Account(folder, cloud="archive")}
        self.daemon = Doomed(self)

    async def reopen(self, release: Release, knows: Knows) -> None:
        """Unpack it, and start today's daemon on it."""
        self.left = unpack(self.folder, release, output=knows == "files")
        await self.comfyui.begin()
        for name, account in self.accounts.items():
            await account.begin()
            account.control(seed=[seed(asset) for asset in self.left["assets"][name].values()])
        if knows == "everything":
            self._post_again()
        path = self.folder / "config.toml"
        urls = {
            "COMFYUI": self.comfyui.url,
            "CLOUD": self.accounts["cloud"].url,
            "ARCHIVE": self.accounts["archive"].url,
        }
        text = path.read_text()
        for name, url in urls.items():
            text = text.replace(f"URL_OF_{name}", url)
        path.write_text(text)
        self.daemon.environment |= self.left["environment"]
        await self.daemon.begin()

    def _post_again(self) -> None:
        """Give ComfyUI what it had: prompts that had ended first, then what ran and what waited."""
        ended = [entry["prompt"] for found in self.left["history"].values() for entry in found.values()]
        queue = self.left["queue"]
        for _, prompt_id, graph, extra, _ in [*ended, *queue["queue_running"], *queue["queue_pending"]]:
            body = json.dumps({"prompt": graph, "prompt_id": prompt_id, "extra_data": extra}).encode()
            with urllib.request.urlopen(f"{self.comfyui.url}/prompt", body, timeout=DEADLINE_S) as answer:
                assert json.load(answer)["prompt_id"] == prompt_id

    @contextlib.asynccontextmanager
    async def app_of(self, label: str) -> AsyncIterator[App]:
        """An app with the token that it was given by the old release; the daemon's own for no label."""
        url = self.daemon.url.replace("http", "ws", 1) + "/ws"
        token = self.left["tokens"][label] if label else self.daemon.token
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(url, additional_headers=headers, max_size=2**24, proxy=None, **PATIENT) as socket:
            app = App(socket)
            try:
                yield app
            finally:
                await app.close()

    def end(self) -> None:
        super().end()
        for account in self.accounts.values():
            account.end()


def seed(asset: Frame) -> Frame:
    return {key: asset[key] for key in ("public_id", "etag", "bytes", "context", "tags")}


def lacking(old: Frame, new: Frame) -> dict[str, tuple[object, object]]:
    """What an old answer says that a new one says otherwise. Answers may gain fields; `found` is a text for people."""
    return {key: (value, new.get(key)) for key, value in old.items() if key != "found" and new.get(key) != value}


async def open_batches(app: App) -> list[Frame]:
    found: list[Frame] = []
    answer = await app.ask("list_batches", open_only=True)
    while True:
        found += answer["batches"]
        if not answer["more"]:
            return found
        answer = await app.ask("list_batches", open_only=True, before=found[-1]["batch_id"])


async def none_open(app: App, deadline_s: float = 60.0) -> None:
    """Until every batch is settled."""

    async def none_is_open() -> bool:
        return not await open_batches(app)

    await until(none_is_open, "every batch is settled", deadline_s)
