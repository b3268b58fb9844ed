"""The object store: files as objects of a bucket, each under the full path that the log gave it.

`ObjectStore` implements the plugin API for three kinds of server: `s3` (and all that speak it), `gcs` and `azure`.
`options` has the settings, `keys` the names, `metadata` what is said of an object, `faults` reads errors, and `bucket`
makes the calls. What this store guarantees:

- **Nothing is ever replaced.** Each upload asks the server to store only if nothing has the key yet, in one request.
- **An upload can be repeated safely.** If the key is taken, the object's size and the sha256 in its metadata are
  compared with ours; if it has no metadata, its bytes are. After an error that does not say whether the file was
  stored, the server is asked.
- **One upload is in flight for each key**, so that ours do not collide with each other.
- **A bucket that cannot be read is not an empty one.** Only the server's word that the bucket is there and the object
  is not counts as a missing object.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from comfyledger.plugin_api import (
    Deleted,
    Deletion,
    Deposit,
    Foreign,
    Held,
    ImageFault,
    LaneFault,
    Numbers,
    Outcome,
    Page,
    Remark,
    Series,
    Stored,
    StoreKind,
    StoreTrouble,
    hookimpl,
)
from comfyledger_objects.bucket import Bucket
from comfyledger_objects.faults import ABSENT, fault_of, lane_fault_of, said_by
from comfyledger_objects.keys import KEY_BYTES_MAX, joined, key_of, name_of, number_in
from comfyledger_objects.metadata import Found, attributes_of, collision, held, likeness, replayed
from comfyledger_objects.options import Kind, Options, options_from

PAGE_FILES: Final = 500
CONFLICT_TRIES: Final = 3
CONFLICT_DELAY_S: Final = 0.5
CALLS: Final = 4
"""Requests that follow each other in one call, at most, besides the pieces of a file."""
TAKEN: Final = ("AlreadyExistsError", "PreconditionError")


@hookimpl
def comfyledger_stores() -> Mapping[str, StoreKind]:
    kinds: tuple[Kind, ...] = ("s3",)
    return {kind: partial(ObjectStore.open, kind) for kind in kinds}


class ObjectStore:
    """A Store in one bucket. Safe to call many times at once, from one event loop."""

    compares_bytes = True

    def __init__(self, name: str, options: Options, bucket: Bucket) -> None:
        self._name, self._options, self._bucket = name, options, bucket
        self._places = asyncio.Semaphore(options.uploads_concurrent_max)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    def open(cls, kind: Kind, name: str, options: Mapping[str, Any], state_dir: Path) -> ObjectStore:
        """obstore is imported here, so that its absence is this store's problem alone."""
        checked = options_from(name, kind, options, os.environ)
        try:
            return cls(name, checked, Bucket(checked))
        except ImportError:
            text = f"stores.{name}: the package obstore is not installed; pip install 'comfyledger[objects]'"
            raise ValueError(text) from None
        except Exception as error:  # obstore's own types, which are known only once it is imported
            raise ValueError(f"stores.{name}: {checked.masked(lane_fault_of(error).text)}") from None

    @property
    def identity(self) -> str:
        return self._options.identity

    @property
    def patience_s(self) -> float:
        return CALLS * (self._options.connect_timeout_s + self._options.request_timeout_s)

    async def prepare(self) -> None:
        """One list of one object shows that address, bucket and credentials are right."""
        async for _ in self._list(self._options.prefix, "", 1):
            break

    async def put(self, deposit: Deposit) -> Outcome:
        key = self._key(deposit.public_id, deposit.extension)
        if len(key.encode()) > KEY_BYTES_MAX:
            return ImageFault("refused", f"The key {key!r} is longer than {KEY_BYTES_MAX:,} bytes.")
        async with self._turns.setdefault(key, asyncio.Lock()), self._places:
            try:
                content = await asyncio.to_thread(_read, deposit)
            except FileNotFoundError as error:
                return ImageFault("altered", f"The spool's file is missing: {error}")
            except OSError as error:
                return LaneFault("unknown", f"The spool's file cannot be read: {error}")
            if content is None:
                return ImageFault("altered", f"{deposit.path} does not hold the bytes that were recorded.")
            attributes = attributes_of(deposit, self._options)
            return await self._put(deposit, key, lambda: self._bucket.create(key, content, attributes))

    async def _put(self, deposit: Deposit, key: str, send: Callable[[], Awaitable[None]]) -> Outcome:
        """Send until the key has an object: ours, or another one."""
        for tries in range(1, CONFLICT_TRIES + 1):
            try:
                await send()
                return Stored(self._url(key))
            except Exception as error:
                if type(error).__name__ not in TAKEN:
                    return await self._after_fault(deposit, key, self._faulty(error, sending=True))
            try:
                return await self._compared(deposit, key)
            except FileNotFoundError:
                if tries < CONFLICT_TRIES:  # Another upload of the key was given up, or this server answers late.
                    await asyncio.sleep(CONFLICT_DELAY_S)
            except StoreTrouble as trouble:
                return trouble.fault
        return LaneFault("unknown", f"The server says that {key} is taken, and does not have it.")

    async def _after_fault(self, deposit: Deposit, key: str, fault: LaneFault | ImageFault) -> Outcome:
        """After an unclear error the object may be there: then that counts, and else the fault."""
        if fault.code != "unknown":
            return fault
        try:
            return await self._compared(deposit, key)
        except (FileNotFoundError, StoreTrouble):
            return fault

    async def _compared(self, deposit: Deposit, key: str) -> Outcome:
        """What the key has. Raises FileNotFoundError, StoreTrouble."""
        found = await self._look(key)
        if await self._is_ours(found, deposit.size_bytes, deposit.sha256, deposit.md5):
            return replayed(deposit, self._url(key))
        return collision(deposit, found)

    async def _is_ours(self, found: Found, size_bytes: int, sha256: str, md5: str) -> bool:
        """Reads the bytes if nothing else can tell. Raises StoreTrouble."""
        like = likeness(found, size_bytes, sha256, md5)
        if like != "unknown":
            return like == "ours"
        digest = hashlib.sha256()
        async for piece in self._read(found):
            await asyncio.to_thread(digest.update, piece)
        return digest.hexdigest() == sha256

    async def highest_number(self, series: Series) -> int:
        """Of all objects in the folder as it is spelled in the series."""
        numbers, number = Numbers(), number_in(series)
        async for some in self._list(joined(self._options.prefix, series.folder), ""):
            for public_id, extension in self._names(some):
                found = number(f"{public_id}.{extension}" if extension else public_id)
                if found is not None:
                    numbers.add(found, public_id)
        return numbers.highest(self._name, series)

    async def check(self, public_id: str, extension: str) -> Held | None:
        try:
            found = await self._look(self._key(public_id, extension))
        except FileNotFoundError:
            return None
        return held(found, public_id, extension)

    async def delete(self, ours: Held) -> Deletion:
        key = self._key(ours.public_id, ours.extension)
        try:
            async with self._turns.setdefault(key, asyncio.Lock()):
                found = await self._look(key)
                is_said = bool(ours.image_id) and found.said.get("image") == ours.image_id
                if not is_said and not await self._is_ours(found, ours.size_bytes, ours.sha256, ours.md5):
                    return Foreign(f"{key} has other content ({found.size_bytes:,} bytes, etag {found.etag}).")
                await self._bucket.delete(key)
                return Deleted(found=True)
        except FileNotFoundError:
            return Deleted(found=False)
        except StoreTrouble as trouble:
            return trouble.fault
        except Exception as error:
            return self._lane_fault(error)

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        try:
            found = await self._look(self._key(public_id, extension))
        except FileNotFoundError as error:
            raise StoreTrouble(LaneFault("unknown", f"{public_id} is gone.")) from error
        try:
            with await asyncio.to_thread(target.open, "r+b") as file:
                async for piece in self._read(found):
                    await asyncio.to_thread(file.write, piece)
        except OSError as error:
            raise StoreTrouble(LaneFault("unknown", f"The object could not be written to disk: {error}")) from error

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """The cursor is the last key. Metadata are not in lists, so only the size of a file is known here."""
        folder = joined(self._options.prefix, prefix.strip("/"))
        async for some in self._list(folder, cursor, PAGE_FILES):
            if some:
                named = zip(some, map(self._name_of, some), strict=True)
                files = tuple(held(found, *name) for found, name in named if name is not None)
                return Page(files, some[-1].key if len(some) == PAGE_FILES else "")
        return Page(())

    async def diagnose(self) -> tuple[Remark, ...]:
        await self.prepare()
        place = f"The bucket {self._options.bucket} can be listed."
        if self._options.is_plain:
            return (Remark("warning", f"{place} Files are sent to it over plain http.", "endpoint"),)
        return (Remark("ok", place),)

    async def close(self) -> None:
        """obstore has no call that closes: its connections end with it."""

    def _key(self, public_id: str, extension: str) -> str:
        return key_of(self._options.prefix, public_id, extension)

    def _name_of(self, found: Found) -> tuple[str, str] | None:
        return name_of(self._options.prefix, found.key)

    def _names(self, some: list[Found]) -> list[tuple[str, str]]:
        return [name for name in map(self._name_of, some) if name is not None]

    def _url(self, key: str) -> str:
        scheme = {"s3": "s3", "gcs": "gs", "azure": "az"}[self._options.kind]
        return f"{scheme}://{self._options.bucket}/{key}"

    # ---- calls, with obstore's errors as ours

    async def _look(self, key: str) -> Found:
        """Raises FileNotFoundError if the bucket has no such object, StoreTrouble if that is not known."""
        try:
            return await self._bucket.look(key)
        except FileNotFoundError as error:
            if said_by(error).code in ABSENT:
                raise
            raise StoreTrouble(self._lane_fault(error)) from error
        except Exception as error:
            raise StoreTrouble(self._lane_fault(error)) from error

    async def _read(self, found: Found) -> AsyncIterator[bytes]:
        """Raises StoreTrouble, or what the caller's own code raises."""
        pieces = self._bucket.read(found)
        while True:
            try:
                piece = await anext(pieces, None)
            except Exception as error:
                raise StoreTrouble(self._lane_fault(error)) from error
            if piece is None:
                return
            yield piece

    async def _list(self, folder: str, after: str, chunk: int = 1_000) -> AsyncIterator[list[Found]]:
        """Raises StoreTrouble."""
        parts = self._bucket.listed(folder, after, chunk)
        while True:
            try:
                part = await anext(parts, None)
            except Exception as error:
                raise StoreTrouble(self._lane_fault(error)) from error
            if part is None:
                return
            yield part

    def _lane_fault(self, error: Exception) -> LaneFault:
        fault = lane_fault_of(error)
        return LaneFault(fault.code, self._options.masked(fault.text), fault.retry_after_s)

    def _faulty(self, error: Exception, *, sending: bool) -> LaneFault | ImageFault:
        fault = fault_of(error, sending=sending)
        text = self._options.masked(fault.text)
        return ImageFault(fault.code, text) if isinstance(fault, ImageFault) else LaneFault(fault.code, text)


def _read(deposit: Deposit) -> bytes | None:
    """The bytes of a small file; None if they are others than recorded. Raises OSError."""
    content = deposit.path.read_bytes()
    same = len(content) == deposit.size_bytes and hashlib.sha256(content).hexdigest() == deposit.sha256
    return content if same else None
