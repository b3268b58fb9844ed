"""The stand-in for object stores as a process, and a house of the whole-system tests with it instead of a folder.

What became of each image is read from the stand-in's own ledger and versions, never from what the daemon says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

from comfyledger.sim.objects.server import KEY_ID, SECRET
from support.processes import Doomed, House, Process
from support.waiting import until_without_a_loop
from support.wire_app import Frame

BUCKET = "pictures"


class Objects(Process):
    """The stand-in. A restart keeps its ports and its root."""

    def __init__(self, folder: Path, dialect: str = "s3", page_max: int = 1_000) -> None:
        self.root = folder / f"objects-{dialect}"
        self._options = ["--root", str(self.root), "--dialect", dialect, "--page-max", str(page_max)]
        self.url = self._control = ""
        super().__init__(self.root.name, folder, self._words(0, 0))

    key_id, secret = KEY_ID, SECRET

    def _words(self, port: int, control: int) -> list[str]:
        return ["comfyledger.sim", "objects", "--port", str(port), "--control-port", str(control), *self._options]

    def begin(self) -> None:
        """Start it and wait until it listens."""
        self.start()

        def listening() -> bool:
            self.check_alive()
            return self.out.read_text().endswith("\n")

        until_without_a_loop(listening, "the stand-in for object stores listens")
        said = json.loads(self.out.read_text())
        self.url, self._control = said["url"], said["control"]

    def restart(self) -> None:
        """Kill it and start it again."""
        self.signal(signal.SIGKILL)
        ports = [int(url.rpartition(":")[2]) for url in (self.url, self._control)]
        self._arguments = [sys.executable, "-m", *self._words(*ports)]
        self.begin()

    def control(self, **asked: Any) -> Frame:
        """Set what `POST /control` takes; its state."""
        return self._call("/control", json.dumps(asked).encode())

    def spoil(self, fault: str, key: str, method: str = "PUT", times: int = 1, **more: Any) -> None:
        """Let a fault strike requests for one key."""
        match = {"key": key, "method": method}
        self.control(faults=[{"fault": fault, "match": match, "times": times, **more}])

    def put(self, key: str, text: str) -> dict[str, str]:
        """Somebody else's object; its SHA-256 by its key."""
        self.control(seed=[{"key": key, "text": text}])
        return {key: hashlib.sha256(text.encode()).hexdigest()}

    def see_missing(self, key: str) -> None:
        """Ask for an object that is not there, as a proxy that caches would remember it."""
        from obstore import head
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            endpoint=self.url,
            region="us-east-1",
            access_key_id=self.key_id,
            secret_access_key=self.secret,
            client_options={"allow_http": True},
        )
        with contextlib.suppress(FileNotFoundError):
            raise AssertionError(f"{key} is there: {head(store, key)}")

    def requests(self) -> list[Frame]:
        """Every request in the order of its arrival."""
        return self._call("/ledger")["requests"]  # type: ignore[no-any-return]

    def versions(self, prefix: str = "") -> list[Frame]:
        """Every version of every object that ever was."""
        return self._call(f"/objects?prefix={prefix}")["objects"]  # type: ignore[no-any-return]

    def uploads(self) -> list[Frame]:
        """Every upload in parts."""
        return self._call("/control")["uploads"]  # type: ignore[no-any-return]

    def _call(self, path: str, body: bytes | None = None) -> Frame:
        with urllib.request.urlopen(self._control + path, body, timeout=60.0) as answer:
            return json.load(answer)  # type: ignore[no-any-return]


class ObjectHouse(House):
    """A daemon whose one store is a bucket of the stand-in. `options` are further keys of the store's section."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.objects = Objects(folder)
        self.options = ""
        self.daemon = Doomed(self)

    async def begin(self, config: str = "", seconds_per_image: float = 0.0, depth: int = 3) -> None:
        """Start what does not run yet."""
        if not self.objects.url:
            self.objects.begin()
        await super().begin(config, seconds_per_image, depth)

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        super().configure(config, depth, url, comfyui)
        path, secret = self.folder / "config.toml", self.folder / "secret"
        secret.write_text(self.objects.secret)
        kept, _, _ = path.read_text().partition("[stores.folder]")
        path.write_text(
            kept
            + f"""
            [stores.objects]
            kind = "s3"
            bucket = "{BUCKET}"
            endpoint = "{self.objects.url}"
            access_key_id = "{self.objects.key_id}"
            secret_access_key_file = "{secret}"
            {self.options}
            """
        )

    def end(self) -> None:
        super().end()
        self.objects.end()

    def check_objects(self, *batches: Frame, foreign: dict[str, str] | None = None) -> None:
        """Exactly one version of one object for each image, with the bytes that were kept; nothing was ever replaced.

        `foreign`: what was there before, by key, with its SHA-256.
        """
        wanted = dict(foreign or {})
        for batch in batches:
            for image in batch["images"]:
                path = self.state / "spool" / batch["batch_id"] / f"{image['index']}.{image['extension']}"
                key = f"{image['public_id']}.{image['extension']}"
                wanted[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        versions = [one for one in self.objects.versions() if not one["key"].startswith(".comfyledger-probe/")]
        assert {one["key"]: one["sha256"] for one in versions if one["ended"] is None} == wanted
        assert len(versions) == len(wanted), "an object was overwritten or deleted"
