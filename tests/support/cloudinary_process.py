"""The house of the whole-system tests with an account instead of a folder: the stand-in for Cloudinary as a process.

What became of each image is read from the stand-in's own ledger and assets, never from what the daemon says.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.ports import KeptPort
from support.processes import Doomed, House, Process
from support.waiting import DEADLINE_S, until
from support.wire_app import Frame

FOLDER = "Areg/characters/opal-fever/images"
STEM = f"{FOLDER}/Areg_opal-fever_image_"


class Account(Process):
    """The stand-in for Cloudinary. A restart keeps its ports and its root."""

    def __init__(self, folder: Path, mode: str = "dynamic", cloud: str = "demo") -> None:
        name = "cloudinary" if cloud == "demo" else cloud
        self.root = folder / name
        self._mode, self._cloud = mode, cloud
        self.url = self._control = ""
        self._ports: list[KeptPort] = []
        self.cloud_name = self.api_key = self.api_secret = ""
        super().__init__(name, folder, self._words(0, 0))

    def _words(self, port: int, control: int) -> list[str]:
        ports = ["--port", str(port), "--control-port", str(control)]
        place = ["--root", str(self.root), "--folder-mode", self._mode, "--cloud", self._cloud]
        return ["comfyledger.sim", "cloudinary", *ports, *place]

    async def begin(self) -> None:
        """Start it, after an end under the addresses that it had."""
        self._ports = self._ports or [KeptPort(), KeptPort()]
        self._arguments = [sys.executable, "-m", *self._words(*(port.number for port in self._ports))]
        self.start()

        def listening() -> bool:
            self.check_alive()
            return self.out.read_text().endswith("\n")

        await until(listening, "the stand-in for Cloudinary listens")
        said = json.loads(self.out.read_text())
        self.url, self._control = said["url"], said["control"]
        parts = urlsplit(said["cloudinary_url"])
        self.cloud_name, self.api_key, self.api_secret = (
            parts.hostname or "",
            parts.username or "",
            parts.password or "",
        )

    async def restart(self) -> None:
        self.signal(signal.SIGKILL)
        await self.begin()

    def control(self, **asked: Any) -> Frame:
        return self._call("/control", json.dumps(asked).encode())

    def spoil(self, fault: str, public_id: str, nth: int = 1, **more: Any) -> None:
        """Let a fault strike the n-th upload of an image."""
        match = {"public_id": public_id, "path": "/upload", "nth": nth}
        self.control(faults=[{"fault": fault, "match": match, **more}])

    def put(self, public_id: str) -> dict[str, str]:
        """Somebody else's image; its MD5 by its name."""
        etag = hashlib.md5(public_id.encode()).hexdigest()
        self.control(seed={"public_id": public_id, "etag": etag, "bytes": 999})
        return {public_id: etag}

    def _call(self, path: str, body: bytes | None = None) -> Frame:
        with urllib.request.urlopen(self._control + path, body, timeout=DEADLINE_S) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def requests(self) -> list[Frame]:
        return self._call("/ledger")["requests"]  # type: ignore[no-any-return]

    def uploads(self) -> list[Frame]:
        return [one for one in self.requests() if one["method"] == "POST" and one["path"].endswith("/upload")]

    def admin_calls(self) -> list[str]:
        return [one["path"] for one in self.requests() if one["is_admin"]]

    def assets(self) -> dict[str, Frame]:
        return {one["public_id"]: one for one in self.listed()}

    def listed(self) -> list[Frame]:
        """Assets of every resource type; a public id may be there once for each."""
        return self._call("/assets")["assets"]  # type: ignore[no-any-return]


class CloudHouse(House):
    """A daemon whose one store is an account. `options` are further keys of the store's section."""

    def __init__(self, folder: Path, mode: str = "dynamic") -> None:
        super().__init__(folder)
        self.account = Account(folder, mode)
        self.options = ""
        self.daemon = Doomed(self)

    async def begin(self, config: str = "", seconds_per_image: float = 0.0, depth: int = 3) -> None:
        """Start what does not run yet."""
        if not self.account.url:
            await self.account.begin()
        await super().begin(config, seconds_per_image, depth)

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        super().configure(config, depth, url, comfyui)
        path = self.folder / "config.toml"
        secret = self.folder / "secret"
        secret.write_text(self.account.api_secret)
        kept, _, _ = path.read_text().partition("[stores.folder]")
        path.write_text(
            kept
            + f"""
            [stores.cloud]
            kind = "cloudinary"
            cloud_name = "{self.account.cloud_name}"
            api_key = "{self.account.api_key}"
            api_secret_file = "{secret}"
            upload_prefix = "{self.account.url}"
            {self.options}
            """
        )

    def end(self) -> None:
        super().end()
        self.account.end()

    def check_account(self, *batches: Frame, foreign: dict[str, str] | None = None) -> None:
        """Exactly one asset for each image, with the bytes that were kept; nothing was ever replaced.

        `foreign`: what was there before, by public id, with its MD5.
        """
        wanted = dict(foreign or {})
        for batch in batches:
            for image in batch["images"]:
                path = self.state / "spool" / batch["batch_id"] / f"{image['index']}.{image['extension']}"
                digest = hashlib.md5(path.read_bytes()).hexdigest()
                assert digest == image["md5"]
                wanted[image["public_id"]] = digest
        assert {name: asset["etag"] for name, asset in self.account.assets().items()} == wanted
        requests = self.account.requests()
        assert not [one for one in requests if one["is_replaced"]]
        news = Counter(one["public_id"] for one in requests if one["answer"] == "new" and one["is_stored"])
        assert not [name for name, times in news.items() if times > 1], "an image was stored as new twice"
