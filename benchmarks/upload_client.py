"""One client of the benchmark in a process of its own: it uploads the files of a list, and prints what that took.

`ours` is the plugin's store as the daemon uses it, `sdk` the official package's `uploader.upload` in threads. Both send
the same parameters for the same files. Imports, reading and setup before the first upload do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from comfyledger.plugin_api import Deposit, Stored

CLOUD: Final = ("demo", "123456789012345", "a-secret-for-the-sink")


def deposits(listing: Path) -> list[Deposit]:
    """The files to upload, from a list of path, size and MD5."""
    return [
        Deposit(
            image_id=f"01JD0000000000000000000000/{number}",
            public_id=f"Areg/characters/opal-fever/images/Areg_opal-fever_image_{number}",
            extension="png",
            path=Path(path),
            sha256=md5 * 2,
            md5=md5,
            size_bytes=size,
            first_attempt=True,
        )
        for number, (path, size, md5) in enumerate(json.loads(listing.read_bytes()), 1)
    ]


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

    async def worker(rest: Iterator[Deposit]) -> None:
        for deposit in rest:
            outcome = await store.put(deposit)
            if not isinstance(outcome, Stored) or outcome.details.get("altered"):
                raise SystemExit(f"not stored: {outcome}")

    async def upload() -> dict[str, float]:
        meter = Meter()
        rest = iter(wanted)
        await asyncio.gather(*(worker(rest) for _ in range(concurrency)))
        used = meter.as_json()
        await store.close()
        return used

    return asyncio.run(upload())


def upload_sdk(url: str, concurrency: int, wanted: Iterable[Deposit]) -> dict[str, float]:
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

    meter = Meter()
    with ThreadPoolExecutor(concurrency) as threads:
        for _ in threads.map(upload, wanted):
            pass
    return meter.as_json()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=("ours", "sdk"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--cpu", type=int)
    given = parser.parse_args()
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})
    wanted = deposits(given.files)
    if given.client == "ours":
        used = upload_ours(given.url, given.concurrency, wanted, given.files.parent)
    else:
        used = upload_sdk(given.url, given.concurrency, wanted)
    print(json.dumps(used))


if __name__ == "__main__":
    main()
