"""The object store: files as objects of a bucket, each under the full path that the log gave it.

`ObjectStore` implements the plugin API for three kinds of server: `s3` (and all that speak it), `gcs` and `azure`.
`options` has the settings, `keys` and `addresses` the names, `metadata` what is said of an object, `faults` reads
errors, `bucket` makes the calls of obstore and `calls` gives them our errors, `uploads` stores, and `probe` finds out
what the server can. What this store guarantees:

- **Nothing is ever replaced.** Each upload asks the server to store only if nothing has the key yet, in one request. A
  server that ignores this is found out before the first use, and refused.
- **An upload can be repeated safely.** If the key is taken, the object's size and the sha256 in its metadata are
  compared with ours; if it has no metadata, its bytes are. After an error that does not say whether the file was
  stored, the server is asked.
- **One upload is in flight for each key**, so that ours do not collide with each other.
- **A bucket that cannot be read is not an empty one.** Only the server's word that the bucket is there and the object
  is not counts as a missing object.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from heapq import nsmallest
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

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
    StoreKind,
    StoreTrouble,
    hookimpl,
)
from comfyledger_objects import probe
from comfyledger_objects.addresses import key_of_url, recorded_url
from comfyledger_objects.bucket import SLOW_S, Bucket
from comfyledger_objects.calls import Calls, Closed
from comfyledger_objects.faults import is_not_supported, lane_fault_of
from comfyledger_objects.keys import KEY_BYTES_MAX, is_fit, is_place, joined, key_of, name_of, number_in, unfit
from comfyledger_objects.metadata import Found, held, listed
from comfyledger_objects.options import Kind, Options, options_from
from comfyledger_objects.probe import Verdict
from comfyledger_objects.uploads import TAKEN, Uploads

PAGE_FILES: Final = 500
CALLS: Final = 4
"""Requests that follow each other in one call, at most, besides the pieces of a file."""
DISPENSABLE_S: Final = 2.0
"""Time limit for an optional answer at the start: a daemon without network must not wait for it."""


@hookimpl
def comfyledger_stores() -> Mapping[str, StoreKind]:
    kinds: tuple[Kind, ...] = ("s3", "gcs", "azure")
    return {kind: partial(ObjectStore.open, kind) for kind in kinds}


class ObjectStore:
    """A Store in one bucket. Safe to call many times at once, from one event loop."""

    compares_bytes = True

    def __init__(
        self, name: str, options: Options, bucket: Bucket, state_dir: Path, now: Callable[[], float] = time.time
    ) -> None:
        self._name, self._options, self._bucket, self._now = name, options, bucket, now
        self._calls = Calls(options, bucket)
        self._uploads = Uploads(options, bucket, self._calls)
        self._known = probe.Known(state_dir, options.identity)
        self._verdict: Verdict | None = None
        self._trying = asyncio.Lock()

    @classmethod
    def open(cls, kind: Kind, name: str, options: Mapping[str, Any], state_dir: Path) -> ObjectStore:
        """obstore is imported here, so that its absence is this store's problem alone."""
        checked = options_from(name, kind, options, os.environ)
        try:
            return cls(name, checked, Bucket(checked), state_dir)
        except ImportError:
            text = f"stores.{name}: the package obstore is not installed; pip install 'comfyledger[objects]'"
            raise ValueError(text) from None
        except Exception as error:  # obstore's own types, which are known only once it is imported
            raise ValueError(f"stores.{name}: {checked.masked(lane_fault_of(error).text)}") from None

    @property
    def identity(self) -> str:
        return self._options.identity

    @property
    def caveat(self) -> str:
        return probe.CAVEAT if self._options.asks_first else ""

    @property
    def patience_s(self) -> float:
        return CALLS * (self._options.connect_timeout_s + self._options.request_timeout_s) + SLOW_S

    async def prepare(self) -> None:
        """Look whether the bucket can be listed, and try whether the server refuses to overwrite if that is not known.

        If the server cannot be reached, what is known of it is enough. That it kept what it had a week ago or longer
        is tried again before the next upload, so that whoever only reads the bucket writes nothing there.
        """
        known = self._known.verdict
        keeps = known is not None and known.keeps
        is_enough = keeps or self._options.asks_first or (known is not None and known.is_fresh(self._now()))
        await self._ask(is_enough=is_enough and known is not None)
        await self._accept(known, is_enough=is_enough)

    async def _accept(self, known: Verdict | None, *, is_enough: bool) -> None:
        """Use what is known, or try it and use that. Raises StoreTrouble if the server overwrites."""
        if self._options.asks_first:
            return
        if known is None or not is_enough:
            known = await probe.tried(self._bucket, self._calls, self._options.prefix, self._now())
            self._known.remember(known)
        if not known.keeps:
            raise StoreTrouble(LaneFault("configuration", probe.refusal(self._name)))
        self._verdict, self._uploads.way = known, known.way
        self._bucket.send_sums(is_on=known.compares_sums)

    async def _ask(self, *, is_enough: bool = False) -> None:
        """One list of one object. Raises StoreTrouble; if enough is known, only for what waiting does not mend."""
        try:
            async with asyncio.timeout(DISPENSABLE_S if is_enough else None):
                async for _ in self._calls.listed(self._options.prefix, chunk=1):
                    break
        except TimeoutError:
            return
        except StoreTrouble as trouble:
            if not is_enough or trouble.fault.code in {"configuration", "clock"}:
                raise

    async def put(self, deposit: Deposit) -> Outcome:
        key = self._key(deposit.public_id, deposit.extension)
        if len(key.encode()) > KEY_BYTES_MAX:
            return ImageFault("refused", f"The key {key!r} is longer than {KEY_BYTES_MAX:,} bytes.")
        if not is_fit(key):
            return ImageFault("refused", unfit(key))
        try:
            await self._try_again()
        except StoreTrouble as trouble:
            return trouble.fault
        return await self._uploads.put(deposit, key, recorded_url(self._options, key))

    async def _try_again(self) -> None:
        """Try a week after the last time whether the server refuses to overwrite. Raises StoreTrouble."""
        async with self._trying:
            if self._verdict is None or not self._verdict.is_fresh(self._now()):
                await self._accept(self._verdict, is_enough=False)

    async def highest_number(self, series: Series) -> int:
        """Of all objects in the folder as it is spelled in the series."""
        numbers, number_of = Numbers(), number_in(series)
        folder = self._folder(series.folder)
        async for some in self._calls.listed(folder):
            for found, (public_id, extension) in self._named(some):
                number = number_of(f"{public_id}.{extension}" if extension else public_id)
                if number is not None and is_place(folder, found.key, found.size_bytes):
                    numbers.add_place(number)
                elif number is not None:
                    numbers.add(number, public_id)
        return numbers.highest(self._name, series)

    async def check(self, public_id: str, extension: str) -> Held | None:
        try:
            found = await self._look(self._key(public_id, extension))
        except FileNotFoundError:
            return None
        return held(found, public_id, extension)

    async def delete(self, ours: Held) -> Deletion:
        """Looks at the object first. Servers that can compare delete only what was looked at."""
        key = self._key(ours.public_id, ours.extension)
        try:
            async with self._uploads.turn(key):
                found = await self._look(key)
                is_said = bool(ours.image_id) and found.said.get("image") == ours.image_id
                if not is_said and not await self._uploads.is_ours(found, ours.size_bytes, ours.sha256, ours.md5):
                    return Foreign(f"{key} has other content ({found.size_bytes:,} bytes, etag {found.etag}).")
                return await self._deleted(found)
        except FileNotFoundError:
            return Deleted(found=False)
        except Closed as closed:
            return Foreign(closed.fault.text)
        except StoreTrouble as trouble:
            return trouble.fault

    async def _deleted(self, found: Found) -> Deletion:
        try:
            try:
                await self._bucket.delete(found.key, found)
            except Exception as error:
                if not is_not_supported(error):
                    raise
                await self._bucket.delete(found.key)
        except FileNotFoundError:
            return Deleted(found=False)
        except Exception as error:
            if type(error).__name__ in TAKEN:
                return Foreign(f"{found.key} was replaced by another program at this moment.")
            return self._calls.lane_fault(error)
        return Deleted(found=True)

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        try:
            found = await self._look(self._key(public_id, extension))
        except FileNotFoundError as error:
            raise StoreTrouble(LaneFault("unknown", f"{public_id} is gone.")) from error
        try:
            with await asyncio.to_thread(target.open, "r+b") as file:
                async for piece in self._calls.read(found):
                    await asyncio.to_thread(file.write, piece)
        except OSError as error:
            raise StoreTrouble(LaneFault("unknown", f"The object could not be written to disk: {error}")) from error

    async def file_url(self, url: str) -> str:
        """An address that ends after `url_lifetime_s`. Servers that people cannot reach by https have none."""
        key = key_of_url(self._options, url)
        if not key or not self._options.url_lifetime_s:
            return ""
        try:
            address = await self._bucket.signed_url(key, self._options.url_lifetime_s)
        except Exception as error:
            raise self._calls.trouble(error) from error
        return address if address.startswith("https://") else ""

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """The cursor is the last key. Metadata are not in lists, so only the size of a file is known here."""
        folder = self._folder(prefix.strip("/"))
        if cursor and not is_fit(cursor):
            raise StoreTrouble(LaneFault("configuration", unfit(cursor)))
        some = await self._next(folder, cursor)
        files = [found for found in some if not is_place(folder, found.key, found.size_bytes)]
        page = tuple(listed(found, *name) for found, name in self._named(files))
        return Page(page, (files or some)[-1].key if len(some) == PAGE_FILES else "")

    async def _next(self, folder: str, after: str) -> list[Found]:
        """The next objects, in the order of their keys. Azure has to be asked for all of them each time: it cannot
        begin after a key, and an account with a hierarchical namespace lists in another order.
        """
        some: list[Found] = []
        async for part in self._calls.listed(folder, after, PAGE_FILES):
            if self._options.kind == "azure":
                some = nsmallest(PAGE_FILES, (*some, *part), key=attrgetter("key"))
            elif len(some := [*some, *part]) >= PAGE_FILES:
                break
        return some[:PAGE_FILES]

    async def diagnose(self) -> tuple[Remark, ...]:
        """Writes nothing: what the last start found out about overwriting is said with its age."""
        await self._ask()
        options = self._options
        verdict = probe.about(self._name, self._known.verdict, asks_first=options.asks_first, now_s=self._now())
        place = f"The bucket {options.bucket} can be listed."
        plain = Remark("warning", f"{place} Files are sent to it over plain http.", f"[stores.{self._name}] endpoint")
        return (plain if options.is_plain else Remark("ok", place), verdict)

    async def close(self) -> None:
        """obstore has no call that closes: its connections end with it. Its threads must have ended their work."""
        await self._bucket.close()

    def _key(self, public_id: str, extension: str) -> str:
        return key_of(self._options.prefix, public_id, extension)

    def _folder(self, folder: str) -> str:
        """The folder in the bucket, empty for all of it. Raises StoreTrouble if obstore cannot look there."""
        path = joined(self._options.prefix, folder)
        if path and not is_fit(path):
            raise StoreTrouble(LaneFault("configuration", unfit(path)))
        return path

    async def _look(self, key: str) -> Found:
        """Raises FileNotFoundError if there is no such object, or cannot be one of ours; StoreTrouble."""
        if not is_fit(key):
            raise FileNotFoundError(key)
        return await self._calls.look(key)

    def _named(self, some: Iterable[Found]) -> Iterator[tuple[Found, tuple[str, str]]]:
        """Objects with public id and extension, without those of probes."""
        for found in some:
            name = name_of(self._options.prefix, found.key)
            if name is not None:
                yield found, name
