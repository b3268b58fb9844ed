"""How much memory a large file takes that goes into an object store, in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore", reason="obstore is not installed")

from support.google_account import made_key
from support.object_places import azure_place, google_place
from support.object_servers import ACCOUNT, AZURITE, Azurite
from support.objects_process import Objects
from support.waiting import DEADLINE_S

MIB = 1_048_576
FILE_BYTES = 200 * MIB
RISE_BYTES_MAX = 64 * MIB
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from comfyledger.plugin_api import Deposit, Stored
from comfyledger_objects.store import ObjectStore

def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])

async def main(kind, options, state, files):
    store = ObjectStore.open(kind, "objects", options, Path(state))
    await store.prepare()
    for number, (path, size, sha256) in enumerate(files):
        before = peak()
        outcome = await store.put(Deposit("B1/1", f"a/b_{number}", "png", Path(path), sha256, "", size, True))
        assert isinstance(outcome, Stored), outcome
    await store.close()
    return peak() - before

print(asyncio.run(main(*json.loads(sys.argv[1]))))
"""


def made(folder: Path, size: int) -> tuple[str, int, str]:
    """A file of zeros that takes no room: path, size and SHA-256."""
    path = folder / str(size)
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        return str(path), size, hashlib.file_digest(file, "sha256").hexdigest()


def risen_bytes(kind: str, options: dict[str, Any], folder: Path) -> int:
    """How far the most memory of a process rises while it stores one large file, after a small one."""
    said = json.dumps([kind, options, str(folder / "state"), [made(folder, MIB), made(folder, FILE_BYTES)]])
    program = [sys.executable, "-c", PROGRAM, said]
    return int(subprocess.run(program, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=True).stdout)


async def test_a_file_of_200_mib_takes_64_mib_at_most_on_its_way_to_google(tmp_path: Path) -> None:
    server = Objects(tmp_path, "gcs")
    try:
        server.begin()
        async with google_place(server, made_key(), tmp_path) as place:
            assert risen_bytes("gcs", place.options(endpoint=server.url), tmp_path) <= RISE_BYTES_MAX
    finally:
        server.end()


@pytest.mark.skipif(not AZURITE, reason="Azurite is not installed: make azurite")
async def test_a_file_of_200_mib_takes_64_mib_at_most_on_its_way_to_azure(tmp_path: Path) -> None:
    server = Azurite(tmp_path)
    try:
        server.begin()
        async with azure_place(server, tmp_path) as place:
            assert risen_bytes("azure", place.options(endpoint=f"{server.url}/{ACCOUNT}"), tmp_path) <= RISE_BYTES_MAX
    finally:
        server.end()
