"""The stand-in for object stores as a process, with its own ledger of requests and its versions of every object."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

from comfyledger.sim.objects.server import KEY_ID, SECRET
from support.processes import Process
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
