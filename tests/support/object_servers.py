"""Object stores as processes on loopback: moto, which speaks S3, and Azurite, which speaks Azure's Blob API.

Both are programs of others, so what our plugin does against them is no echo of our own stand-in. Each keeps its objects
in memory, on a free port, until its process is ended. `MOTO` and `AZURITE` say whether a machine has them.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import hashlib
import hmac
import http.client
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from support.processes import Process
from support.waiting import until_without_a_loop

START_S: Final = 100.0
"""Both import a great deal; a busy machine takes its time for that."""
REGION: Final = "us-east-1"
KEY_ID: Final = "key-of-the-tests"
SECRET: Final = "secret-of-the-tests"
ACCOUNT: Final = "devstoreaccount1"
ACCOUNT_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, as its documentation names it. It guards nothing."""
_AZURITE: Final = Path(__file__).with_name("azurite") / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
MOTO: Final = importlib.util.find_spec("moto") is not None
AZURITE: Final = _AZURITE.exists() and shutil.which("node") is not None


class ObjectServer(Process):
    """A server that says on one of its outputs at which address it listens."""

    cold = True

    def __init__(self, name: str, folder: Path, arguments: list[str]) -> None:
        super().__init__(name, folder, [])
        self._arguments = arguments
        self.url = ""

    def begin(self) -> None:
        """Start it and wait until it listens."""
        self.start()
        found: re.Match[str] = until_without_a_loop(self._address, f"{self.name} listens", START_S)
        self.url = found[0]

    def _address(self) -> re.Match[str] | None:
        self.check_alive()
        said = self.out.read_text(errors="replace") + self.log.read_text(errors="replace")
        return re.search(r"http://127\.0\.0\.1:[1-9][0-9]*(?=\s)", said)


class Moto(ObjectServer):
    """A server of S3 and the rest of AWS. Any key opens it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("moto", folder, [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])

    def add_bucket(self, bucket: str) -> None:
        """A new, empty bucket."""
        signed = (
            f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20250101/{REGION}/s3/aws4_request, SignedHeaders=host, Signature=0"
        )
        _put(f"{self.url}/{bucket}", {"Authorization": signed})


class Azurite(ObjectServer):
    """A server of Azure's Blob API with the account `ACCOUNT`."""

    def __init__(self, folder: Path) -> None:
        options = (
            "--blobHost 127.0.0.1 --blobPort 0 --inMemoryPersistence --disableTelemetry --skipApiVersionCheck --silent"
        )
        super().__init__("azurite", folder, ["node", str(_AZURITE), *options.split()])

    def add_container(self, container: str) -> None:
        """A new, empty container. The request is signed with the account's key, as Azure asks for it."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
        names = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        text = "PUT" + "\n" * 12 + names + f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256)
        signed = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        _put(f"{self.url}/{ACCOUNT}/{container}?restype=container", {**headers, "Authorization": signed})


@cache
def shared_azurite() -> Azurite:
    """The one Azurite of all tests of this process that only need a container. It ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="azurite-")
    running = Azurite(Path(folder.name))
    running.begin()

    def end() -> None:
        running.end()
        folder.cleanup()

    atexit.register(end)
    return running


def _put(url: str, headers: Mapping[str, str]) -> None:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=30.0)
    with contextlib.closing(connection):
        connection.request("PUT", url.removeprefix(f"http://{place.netloc}"), headers=dict(headers))
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()
