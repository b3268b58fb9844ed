"""How the work of an object store ends: uploads that are cancelled, and processes that end while obstore works."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

pytest.importorskip("obstore", reason="obstore is not installed")

from comfyledger.plugin_api import Stored
from comfyledger.testing.place import deposit, picture
from comfyledger_objects import uploads
from comfyledger_objects.store import ObjectStore
from support.object_places import S3Place
from support.waiting import DEADLINE_S, until

LARGE = hashlib.sha256(b"seed").digest() * (8 * uploads.WHOLE_BYTES_MAX // 32)
RUNS = 4
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from comfyledger.plugin_api import Deposit
from comfyledger_objects import uploads
from comfyledger_objects.store import ObjectStore

async def begun(count):
    while asked < count:
        await asyncio.sleep(0.001)

def counted(pieces):
    global asked
    for piece in pieces:
        asked += 1
        yield piece

async def main(options, given, does):
    store = ObjectStore.open("s3", "objects", options, Path(options.pop("state")))
    await store.prepare()
    given["path"] = Path(given["path"])
    files = [Deposit(**{**given, "public_id": f"a/b_{number}"}) for number in range(4)]
    tasks = [asyncio.create_task(store.put(one)) for one in files]
    if does == "cancels":
        await begun(8)
        for task in tasks:
            task.cancel()
    if does == "closes":
        await begun(8)
        await store.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    if does == "asks":
        asking = [asyncio.create_task(store.check("a/b", "png")) for _ in range(32)]
        await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    await store.close()

sys.setswitchinterval(60.0)  # obstore's threads get Python when nobody else wants it, so also too late.
asked = 0
plain = uploads.pieces
uploads.pieces = lambda *arguments: counted(plain(*arguments))
asyncio.run(main(json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]))
"""


async def ready(place: S3Place) -> ObjectStore:
    store = place.store()
    await store.prepare()
    place.proxy.requests.clear()
    return store


def parts(place: S3Place) -> int:
    return sum("partNumber" in path for _, path in place.proxy.requests)


@pytest.mark.parametrize("does", ["stores", "cancels", "asks", "closes"])
def test_a_process_that_closes_its_store_ends_well(server: str, tmp_path: Path, does: str) -> None:
    """Each time: an abort would be a matter of milliseconds."""
    given = structs.asdict(deposit(tmp_path, LARGE if does in {"cancels", "closes"} else picture(1)))
    who = {"access_key_id": "anna", "secret_access_key": "hidden-secret"}
    made = S3Place(server, None, tmp_path)  # type: ignore[arg-type]
    options = {"bucket": made.bucket, "endpoint": server, "state": str(tmp_path), **who}
    words = [sys.executable, "-c", PROGRAM, json.dumps(options), json.dumps(given, default=str), does]
    ended = [subprocess.run(words, timeout=DEADLINE_S, check=False).returncode for _ in range(RUNS)]
    assert ended == [0] * RUNS


async def test_a_cancelled_upload_in_parts_is_given_up_at_the_server(place: S3Place, tmp_path: Path) -> None:
    """What moto then lists is not looked at: its threads do not agree on a part that arrives meanwhile."""
    store, given = await ready(place), deposit(tmp_path, LARGE)
    putting = asyncio.create_task(store.put(given))
    await until(lambda: parts(place) >= 2, "parts are sent")
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert place.keys() == []
    assert ("DELETE", "uploadId") in {(method, path.rpartition("?")[2][:8]) for method, path in place.proxy.requests}
    assert isinstance(await store.put(given), Stored)
