"""Whether a server keeps what it has when it is asked to: found out by trying, and remembered for a week.

Two objects below `.comfyledger-probe/` are written twice, one in one request and one in parts, and deleted again. If a
server has no condition for parts, a copy is made twice, too. A server that answers the second writing with success has
lost the first one: it ignores the condition, and nothing would keep it from overwriting somebody's file. A server of S3
also gets an object with a wrong checksum. If it refuses that, uploads carry a checksum, which costs less than to sign
all bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from comfyledger.plugin_api import Remark
from comfyledger_objects.bucket import Bucket, Source
from comfyledger_objects.calls import Calls
from comfyledger_objects.faults import is_clear_refusal, is_not_supported
from comfyledger_objects.keys import ASIDE_FOLDER, PROBE_FOLDER, joined
from comfyledger_objects.uploads import TAKEN, Way

REMEMBERED_S: Final = 604_800.0
REFUSAL_REMEMBERED_S: Final = 600.0
"""The server may be another one soon."""
LEFT_S: Final = 3_600.0
"""Objects of this age are of a try that has ended. It leaves room for clocks that differ."""
ASIDE_LEFT_S: Final = 604_800.0
"""Files of this age that are on their way to their key are of an upload that nobody repeats."""
CAVEAT: Final = (
    "Promise 8 does not hold for this store: before each upload it looks whether the name is free, and a file that "
    "another program stores at that moment is overwritten."
)
"""What a person accepts with `unsafe_overwrite_check`."""
CLEAN_S: Final = 60.0
"""How long the cleaning after a try may take, which is not needed for an answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`keeps`: a conditional request does not overwrite. `keeps_in_parts`: a conditional upload in parts neither.
    `keeps_in_copies`: a conditional copy neither; it is tried only if uploads in parts have no condition.
    `compares_sums`: an object with a wrong checksum is refused.

    `at_s`: when that was tried, in seconds since 1970.
    """

    keeps: bool
    keeps_in_parts: bool
    at_s: float
    keeps_in_copies: bool = False
    compares_sums: bool = False

    @property
    def way(self) -> Way:
        """How large files are sent."""
        return "parts" if self.keeps_in_parts else "copy" if self.keeps_in_copies else "whole"

    def is_fresh(self, now_s: float) -> bool:
        age_s = now_s - self.at_s
        return 0 <= age_s < (REMEMBERED_S if self.keeps else REFUSAL_REMEMBERED_S)


async def tried(bucket: Bucket, calls: Calls, prefix: str, now_s: float) -> Verdict:
    """Try it. Raises StoreTrouble if the server did not answer clearly.

    What cannot be deleted, stays: an account that may not delete can be used all the same.
    """
    folder, token = joined(prefix, PROBE_FOLDER), secrets.token_hex(8)
    keys = [f"{folder}/{token}-{number}" for number in range(1, 6)]
    one, parts, copied, summed, unlike = keys
    try:
        keeps = await _keeps(lambda: bucket.create(one, memoryview(b"1"), {}), is_not_supported, calls)
        in_parts = keeps and await _keeps(
            lambda: bucket.create_in_parts(parts, Source(1, lambda _: iter((b"1",))), {}), is_clear_refusal, calls
        )
        by_copy = bucket.copies and keeps and not in_parts
        in_copies = by_copy and await _keeps(lambda: bucket.copy(one, copied), is_clear_refusal, calls)
        sums = keeps and bucket.may_send_sums and await bucket.try_sums(summed, unlike)
        return Verdict(keeps, in_parts, now_s, in_copies, sums)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEAN_S):
                await _clean(bucket, calls, prefix, keys, now_s)


async def _clean(bucket: Bucket, calls: Calls, prefix: str, keys: Iterable[str], now_s: float) -> None:
    """Delete what this try wrote, and what earlier ones have left."""
    for key in keys:
        with suppress(Exception):
            await bucket.delete(key)
    await _sweep(bucket, calls, joined(prefix, PROBE_FOLDER), now_s - LEFT_S)
    if bucket.copies:
        await _sweep(bucket, calls, joined(prefix, ASIDE_FOLDER), now_s - ASIDE_LEFT_S)


async def _sweep(bucket: Bucket, calls: Calls, folder: str, before_s: float) -> None:
    """Delete what is left of earlier tries or uploads that were killed. What runs elsewhere now is not touched."""
    with suppress(Exception):
        async for part in calls.listed(folder):
            for found in part:
                if found.modified_at_ms < before_s * 1_000:
                    await bucket.delete(found.key)


async def _keeps(write: Callable[[], Awaitable[None]], is_refusal: Callable[[Exception], bool], calls: Calls) -> bool:
    """Whether the first writing works and the second one is answered with: it is there already."""
    for is_second in (False, True):
        try:
            await write()
        except Exception as error:
            is_taken = type(error).__name__ in TAKEN
            if is_taken and is_second:
                return True
            if not is_taken and is_refusal(error):
                return False
            # Also "taken" at the first writing: the name is new, so this is another conflict, which passes.
            raise calls.trouble(error) from error
    return False


class Known:
    """The last verdict on a place, in a small file of the state folder."""

    def __init__(self, state_dir: Path, identity: str) -> None:
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._path, self._identity = state_dir / f"objects-{name}.json", identity

    @property
    def verdict(self) -> Verdict | None:
        """None if nothing is known."""
        try:
            said = json.loads(self._path.read_bytes())
            return _verdict(said) if said["identity"] == self._identity else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, verdict: Verdict) -> None:
        """Written whole or not at all. If the folder cannot be written, it is tried again at the next start."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(f".{os.getpid()}.tmp")
            beside.write_text(json.dumps({"identity": self._identity, **asdict(verdict)}), encoding="utf-8")
            os.replace(beside, self._path)


def _verdict(said: Mapping[str, Any]) -> Verdict:
    in_copies, sums = bool(said.get("keeps_in_copies", False)), bool(said.get("compares_sums", False))
    return Verdict(bool(said["keeps"]), bool(said["keeps_in_parts"]), float(said["at_s"]), in_copies, sums)


LARGE: Final[Mapping[Way, str]] = {
    "parts": "",
    "copy": f" Files above 16 MiB are sent to a key below {ASIDE_FOLDER}/ first, and copied.",
    "whole": " Files above 16 MiB are sent in one request, up to 512 MiB.",
}


def refusal(name: str) -> str:
    return (
        "The server overwrites an object although it is asked to store only if there is none, so nothing can keep it "
        f'from losing a file. Use a server that can, or write unsafe_overwrite_check = "head" into [stores.{name}]: '
        "then each upload looks first, and a file that another program stores at that moment may be lost."
    )


def about(name: str, verdict: Verdict | None, *, asks_first: bool, now_s: float) -> Remark:
    """What `comfyledger doctor` says of it. PURE."""
    option = f"[stores.{name}] unsafe_overwrite_check"
    if asks_first:
        return Remark("warning", CAVEAT, option)
    if verdict is None:
        text = "Whether the server refuses to overwrite is tried at the daemon's next start."
        return Remark("warning", text, "comfyledger run")
    hours = max(0, round((now_s - verdict.at_s) / 3_600))
    if not verdict.keeps:
        return Remark("failure", refusal(name), option)
    return Remark("ok", f"The server refuses to overwrite, as was tried {hours} hours ago.{LARGE[verdict.way]}")
