"""One client of the benchmark in a process of its own: it uploads the files of a list, and prints what that took.

`ours` is the Cloudinary plugin's store as the daemon uses it, `sdk` the official package's `uploader.upload` in
threads; `objects` is the store of objects, `boto3` its `upload_file` in threads. Both of a pair send the same
parameters for the same files. Imports, reading and setup before the first upload do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from comfyledger.plugin_api import Deposit, Store, Stored

CLOUD: Final = ("demo", "123456789012345", "a-secret-for-the-sink")
BUCKET_KEYS: Final = {"access_key_id": "bench", "secret_access_key": "a-secret-for-the-sink"}


def deposits(listing: Path) -> list[Deposit]:
    """The files to upload, from a list of path, size and MD5. Their SHA-256 is what the store of objects compares."""
    return [
        Deposit(
            image_id=f"01JD0000000000000000000000/{number}",
            public_id=f"Areg/characters/opal-fever/images/Areg_opal-fever_image_{number}",
            extension="png",
            path=Path(path),
            sha256=sha256_of(path),
            md5=md5,
            size_bytes=size,
            first_attempt=True,
        )
        for number, (path, size, md5) in enumerate(json.loads(listing.read_bytes()), 1)
    ]


def sha256_of(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_bytes() -> int:
    """The most memory that this process ever had (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


class Meter:
    """What was used since the start of the measurement."""

    def __init__(self) -> None:
        self._peak_bytes = peak_bytes()
        self._cpu_s = _cpu_s()
        self._began_s = time.perf_counter()

    def as_json(self) -> dict[str, float]:
        took_s, cpu_s = time.perf_counter() - self._began_s, _cpu_s() - self._cpu_s
        peak = peak_bytes()
        return {"took_s": took_s, "cpu_s": cpu_s, "peak_bytes": peak, "grown_bytes": peak - self._peak_bytes}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def upload_ours(url: str, concurrency: int, wanted: list[Deposit], state_dir: Path) -> dict[str, float]:
    import aiohttp  # noqa: F401 - what the first upload would import
    import cloudinary.utils  # noqa: F401

    from comfyledger_cloudinary.account import Account, Options, Secret
    from comfyledger_cloudinary.store import CloudinaryStore

    cloud, key, secret = CLOUD
    account = Account(cloud, key, Secret(secret), url)
    store = CloudinaryStore("bench", Options(account, "dynamic", uploads_concurrent_max=concurrency), state_dir)
    return asyncio.run(upload_with(store, concurrency, wanted))


def upload_objects(url: str, concurrency: int, wanted: list[Deposit], state_dir: Path) -> dict[str, float]:
    from comfyledger_objects.store import ObjectStore

    options = {"bucket": "bench", "endpoint": url, "uploads_concurrent_max": concurrency, **BUCKET_KEYS}
    return asyncio.run(upload_with(ObjectStore.open("s3", "bench", options, state_dir), concurrency, wanted))


async def upload_with(store: Store, concurrency: int, wanted: list[Deposit]) -> dict[str, float]:
    """All files through one store, so many at once."""

    async def worker(rest: Iterator[Deposit]) -> None:
        for deposit in rest:
            outcome = await store.put(deposit)
            if not isinstance(outcome, Stored) or outcome.details.get("altered"):
                raise SystemExit(f"not stored: {outcome}")

    await store.prepare()
    meter = Meter()
    rest = iter(wanted)
    await asyncio.gather(*(worker(rest) for _ in range(concurrency)))
    used = meter.as_json()
    await store.close()
    return used


def upload_boto3(url: str, concurrency: int, wanted: Iterable[Deposit], state_dir: Path) -> dict[str, float]:
    """One client for all threads, as its documentation advises, with as many connections."""
    import boto3
    from botocore.config import Config

    keys = {f"aws_{name}": value for name, value in BUCKET_KEYS.items()}
    config = Config(max_pool_connections=concurrency, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config, **keys)

    def upload(deposit: Deposit) -> None:
        said = {"sha256": deposit.sha256, "md5": deposit.md5, "image": deposit.image_id}
        more = {"ContentType": "image/png", "Metadata": said}
        client.upload_file(str(deposit.path), "bench", f"{deposit.public_id}.{deposit.extension}", ExtraArgs=more)

    return in_threads(upload, concurrency, wanted)


def upload_sdk(url: str, concurrency: int, wanted: Iterable[Deposit], state_dir: Path) -> dict[str, float]:
    import cloudinary
    import cloudinary.uploader

    cloud, key, secret = CLOUD
    cloudinary.config(cloud_name=cloud, api_key=key, api_secret=secret, upload_prefix=url)

    def upload(deposit: Deposit) -> None:
        folder, _, leaf = deposit.public_id.rpartition("/")
        answer: dict[str, Any] = cloudinary.uploader.upload(
            str(deposit.path),
            resource_type="image",
            public_id=deposit.public_id,
            overwrite=False,
            type="upload",
            context={"sha256": deposit.sha256, "md5": deposit.md5, "image": deposit.image_id},
            asset_folder=folder,
            display_name=leaf,
        )
        if (answer["public_id"], answer["etag"]) != (deposit.public_id, deposit.md5):
            raise SystemExit(f"not stored: {answer}")

    return in_threads(upload, concurrency, wanted)


def in_threads(upload: Callable[[Deposit], None], concurrency: int, wanted: Iterable[Deposit]) -> dict[str, float]:
    meter = Meter()
    with ThreadPoolExecutor(concurrency) as threads:
        for _ in threads.map(upload, wanted):
            pass
    return meter.as_json()


CLIENTS: Final = {"ours": upload_ours, "sdk": upload_sdk, "objects": upload_objects, "boto3": upload_boto3}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=tuple(CLIENTS))
    parser.add_argument("--url", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--cpu", type=int)
    given = parser.parse_args()
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})
    wanted = deposits(given.files)
    used = CLIENTS[given.client](given.url, given.concurrency, wanted, given.files.parent)
    print(json.dumps(used), flush=True)


if __name__ == "__main__":
    main()
