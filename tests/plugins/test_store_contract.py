"""The laws of a store, for the bundled stores: a folder, and Cloudinary against its stand-in."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.plugin_api import Deposit, Store
from comfyledger.sim.cloudinary.server import SECRET, CloudinaryOptions, SimCloudinary, serve
from comfyledger.testing.store_contract import StoreContract
from comfyledger_cloudinary.store import CloudinaryStore
from comfyledger_folder.store import FolderStore

MARK = ".comfyledger"


class FolderPlace:
    can_be_unreachable = True
    can_be_cut = False
    can_be_throttled = False

    def __init__(self, folder: Path) -> None:
        self.root, self._state = folder / "root", folder / "state"
        self.stores: list[FolderStore] = []

    def opened(self) -> Store:
        self.stores.append(FolderStore.open("main", {"root": str(self.root)}, self._state))
        return self.stores[-1]

    async def contents(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file() and path.name != MARK)
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    async def put_foreign(self, public_id: str, extension: str, content: bytes) -> None:
        path = self.root / f"{public_id}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[None]:
        away = self.root.with_name("unmounted")
        self.root.rename(away)
        yield
        away.rename(self.root)

    async def cut_next(self, *, stored: bool) -> None:
        raise NotImplementedError

    async def throttle_next(self, retry_after_s: int) -> None:
        raise NotImplementedError


class CloudinaryPlace:
    can_be_unreachable = True
    can_be_cut = True
    can_be_throttled = True

    def __init__(self, account: SimCloudinary, session: aiohttp.ClientSession, folder: Path) -> None:
        self._account, self._session, self._folder = account, session, folder
        self.stores: list[CloudinaryStore] = []

    def opened(self) -> Store:
        known = {"cloud_name": "demo", "api_key": "123456789012345", "api_secret": SECRET, "folder_mode": "dynamic"}
        where = {"upload_prefix": self._account.url}
        self.stores.append(CloudinaryStore.open("pics", {**known, **where}, self._folder / "state"))
        return self.stores[-1]

    async def contents(self) -> dict[str, bytes]:
        async with self._session.get(f"{self._account.control_url}/assets") as answer:
            assets = (await answer.json())["assets"]
        files = self._folder / "account" / "files"
        return {_file_name(asset): (files / asset["file"]).read_bytes() for asset in assets}

    async def put_foreign(self, public_id: str, extension: str, content: bytes) -> None:
        """As the upload of another image. The account refuses a name that it cannot have."""
        path = self._folder / "foreign.png"
        path.write_bytes(content)
        md5, sha256 = (hashlib.new(name, content).hexdigest() for name in ("md5", "sha256"))
        await self.opened().put(Deposit("X9/9", public_id, extension, path, sha256, md5, len(content), True))

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[None]:
        await self._control(listening=False)
        yield
        await self._control(listening=True)

    async def cut_next(self, *, stored: bool) -> None:
        await self._control(faults=[{"fault": "store_then_reset" if stored else "reset_mid_body", "times": 1}])

    async def throttle_next(self, retry_after_s: int) -> None:
        headers = {"Retry-After": str(retry_after_s)}
        await self._control(faults=[{"fault": "answer", "status": 429, "headers": headers}])

    async def _control(self, **asked: Any) -> None:
        async with self._session.post(f"{self._account.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()


def _file_name(asset: dict[str, Any]) -> str:
    name = str(asset["public_id"])
    return name if asset["resource_type"] == "raw" else f"{name}.{asset['format']}"


class TestFolder(StoreContract):
    @pytest.fixture
    async def place(self, tmp_path: Path) -> AsyncIterator[FolderPlace]:
        made = FolderPlace(tmp_path)
        yield made
        for store in made.stores:
            await store.close()


class TestCloudinary(StoreContract):
    @pytest.fixture
    async def place(self, tmp_path: Path) -> AsyncIterator[CloudinaryPlace]:
        options = CloudinaryOptions(root=tmp_path / "account")
        async with await serve(options) as account, aiohttp.ClientSession() as session:
            made = CloudinaryPlace(account, session, tmp_path)
            yield made
            for store in made.stores:
                await store.close()
