"""The Cloudinary store: files as assets of an account, each under the full path that the log gave it.

`CloudinaryStore` implements the plugin API. `account` has options, secret and signature, `kinds` says which resource
type a file has, `transfer` sends files, `chunks` parts large ones, `answers` reads the results, `admin` asks the
account and `listing` reads its lists. What this store guarantees:

- **An upload can be repeated safely.** It sends the public_id with `overwrite=false`, and compares the MD5 of what the
  account holds with ours. Nothing is replaced, nothing gets a suffix, and no upload needs a question before it.
- **One upload is in flight for each public_id**, because Cloudinary does not document that its own check is atomic.
- **The Admin API is called rarely**: for the folder mode and the size limits at the start, three times for each new
  series, for each page of a listing, and before a file of more than 20 MB is sent again. The facts that a start needs
  are remembered, so that the next start needs no network.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from comfyledger.plugin_api import (
    Deleted,
    Deletion,
    Deposit,
    Doubted,
    Held,
    ImageFault,
    LaneFault,
    Outcome,
    Page,
    Remark,
    Series,
    Stored,
    StoreKind,
    StoreTrouble,
    hookimpl,
)
from comfyledger_cloudinary.account import Options, destroy_fields, options_from, upload_fields
from comfyledger_cloudinary.admin import Admin, Missing, about_budget, about_clock, about_limit, about_mode, limits_of
from comfyledger_cloudinary.answers import (
    Answer,
    deserves_another_try,
    foreign,
    is_ours,
    is_stale,
    judge,
    judge_destroyed,
)
from comfyledger_cloudinary.chunks import CHUNKED_ABOVE_BYTES, Unfinished
from comfyledger_cloudinary.delivery import address_of, scaled_address
from comfyledger_cloudinary.kinds import KINDS, PLURALS, Kind, cursor_after, kind_of, name_in_account, turned
from comfyledger_cloudinary.listing import Numbers, checked, held, held_of, prefix_of, public_ids_of
from comfyledger_cloudinary.transfer import Cargo, Part, Patience, Transfer

LISTED_MAX: Final = 500
"""Assets in one Admin call, the most that Cloudinary returns."""

CONFLICT_DELAY_S: Final = 1.0
DISPENSABLE_S: Final = 2.0
"""Time limit for an optional answer at the start: a daemon without network must not wait for it."""

DOUBT_REMEMBERED_S: Final = 600.0
"""A doubted series is not asked for again earlier: each question costs a call of the hourly budget."""


@hookimpl
def comfyledger_stores() -> Mapping[str, StoreKind]:
    return {"cloudinary": CloudinaryStore.open}


class CloudinaryStore:
    """A Store in one account. Safe to call many times at once, from one event loop."""

    def __init__(self, name: str, options: Options, state_dir: Path, now: Callable[[], float] = time.time) -> None:
        account = options.account
        self._name = name
        self._options = options
        self._now = now
        self._known = Known(state_dir / f"cloudinary-{account.cloud_name}.json", account.upload_prefix)
        self._mode = "" if options.folder_mode == "auto" else options.folder_mode
        patience = Patience(options.connect_timeout_s, options.send_timeout_s, options.answer_timeout_s)
        self._transfer = Transfer(options.uploads_concurrent_max, patience, options.proxy or None)
        self._admin = Admin(options, now)
        self._places = asyncio.Semaphore(options.uploads_concurrent_max)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._doubts: dict[Series, tuple[float, Doubted]] = {}
        self._unfinished = Unfinished()
        self._url = f"{account.upload_prefix}/v1_1/{account.cloud_name}"

    @classmethod
    def open(cls, name: str, options: Mapping[str, Any], state_dir: Path) -> CloudinaryStore:
        """The SDK is imported here, so that its absence or a wrong environment is this store's problem alone."""
        try:
            import cloudinary.utils  # noqa: F401
        except (ImportError, ValueError) as error:
            raise ValueError(f"stores.{name}: the package cloudinary cannot be used: {error}") from None
        return cls(name, options_from(name, options, os.environ), state_dir)

    @property
    def identity(self) -> str:
        if not self._mode:
            raise RuntimeError("the folder mode is not known before prepare() has succeeded")
        return f"cloudinary:{self._options.account.cloud_name}/{self._mode}"

    @property
    def patience_s(self) -> float:
        """The time that a transfer may pause, times the tries of an upload."""
        options = self._options
        return 3 * (options.connect_timeout_s + options.send_timeout_s + options.answer_timeout_s)

    async def prepare(self) -> None:
        """Learn the folder mode, unless it is configured, and the size limits. Offline, remembered facts are used."""
        if not self._mode:
            self._mode = await self._learn_mode()
        # Cloudinary refuses too large files by itself. Knowing the limit saves the upload.
        with suppress(StoreTrouble, TimeoutError):
            async with asyncio.timeout(DISPENSABLE_S):
                limits = limits_of(await self._admin.ask("usage"))
                self._known.remember(**{f"{kind}_bytes_max": limit for kind, limit in limits.items()})

    async def put(self, deposit: Deposit) -> Outcome:
        limit = self._known.bytes_max(kind_of(deposit.extension))
        if limit and deposit.size_bytes > limit:
            return ImageFault("refused", _too_large(deposit, limit))
        async with self._turns.setdefault(deposit.public_id, asyncio.Lock()), self._places:
            return self._masked(await self._put(deposit))

    async def highest_number(self, series: Series) -> int:
        """The prefix is sent as written: Cloudinary's search is case-sensitive."""
        now_s = self._now()
        self._doubts = {one: doubt for one, doubt in self._doubts.items() if now_s < doubt[0]}
        if series in self._doubts:
            raise self._doubts[series][1]
        numbers = await self._numbers(series)
        try:
            return numbers.highest(self._name)
        except Doubted as doubt:
            self._doubts[series] = (self._now() + DOUBT_REMEMBERED_S, doubt)
            raise

    async def check(self, public_id: str, extension: str) -> Held | None:
        """An image or video has one public_id whatever its format, so its extension may be another one."""
        try:
            asset = await self._asset(public_id, extension, context=1)
        except Missing:
            return None
        return held(checked({"resources": [asset]})["resources"][0])

    async def _asset(self, public_id: str, extension: str, **more: int) -> dict[str, Any]:
        """Raises StoreTrouble; Missing for an asset that is not there."""
        where = ("resources", kind_of(extension), self._options.delivery_type)
        return await self._admin.ask(*where, name_in_account(public_id, extension), **more)

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        asset = await self._asset(public_id, extension)
        size_bytes = asset.get("bytes")
        address = address_of(self._options, asset)
        await self._transfer.receive(address, target, size_bytes if isinstance(size_bytes, int) else 0)

    def thumbnail_url(self, url: str, extension: str, side_max: int) -> str:
        return scaled_address(self._options, url, extension, side_max)

    async def delete(self, ours: Held) -> Deletion:
        """One call of the Admin API checks that the asset is ours, a second call deletes it.

        Cloudinary deletes whatever has the name. `invalidate` clears its caches, which takes minutes.
        """
        try:
            found = await self.check(ours.public_id, ours.extension)
        except StoreTrouble as trouble:
            return trouble.fault
        if found is None:
            return Deleted(found=False)
        return await self._destroy(ours) if is_ours(found, ours) else foreign(found, ours)

    async def _destroy(self, ours: Held) -> Deletion:
        async with self._turns.setdefault(ours.public_id, asyncio.Lock()), self._places:
            name = name_in_account(ours.public_id, ours.extension)
            fields = destroy_fields(self._options, name, int(self._now()))
            answer = await self._transfer.post(f"{self._url}/{kind_of(ours.extension)}/destroy", fields)
        outcome = judge_destroyed(answer, self._now()) if isinstance(answer, Answer) else answer
        if isinstance(outcome, LaneFault):
            return LaneFault(outcome.code, self._options.masked(outcome.text), outcome.retry_after_s)
        return outcome

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """The images first, then the videos and sounds, then the raw files."""
        kind, own = turned(cursor)
        listing = await self._listing(kind, f"{prefix.rstrip('/')}/" if prefix else "", own, context=1)
        following = _cursor_of(listing)
        if following and following == own:
            raise _cut_short()
        return Page(held_of(listing), cursor_after(kind, following))

    async def diagnose(self) -> tuple[Remark, ...]:
        """Costs two calls of the hourly budget. The answers are not remembered."""
        config = await self._admin.ask("config", settings="true")
        found = (
            about_mode(self._name, self._options, config),
            about_limit(await self._admin.ask("usage")),
            about_budget(self._admin.left),
            about_clock(self._admin.ahead_s),
        )
        return tuple(remark for remark in found if remark is not None)

    async def close(self) -> None:
        await self._transfer.close()
        await self._admin.close()

    async def _put(self, deposit: Deposit) -> Outcome:
        if deposit.size_bytes > CHUNKED_ABOVE_BYTES and not deposit.first_attempt:
            with suppress(StoreTrouble):  # Then Cloudinary finds it out after the upload.
                found = await self._asset(deposit.public_id, deposit.extension, context=1)
                return judge(deposit, Answer(200, {}, json.dumps({**found, "existing": True}).encode()), self._now())
        tries = 0
        while True:
            tries += 1
            outcome, answer = await self._send(deposit)
            if not deserves_another_try(outcome, answer, tries):
                return outcome
            if answer.status == 409:
                await asyncio.sleep(CONFLICT_DELAY_S)

    async def _send(self, deposit: Deposit) -> tuple[Outcome, Answer]:
        in_parts = deposit.size_bytes > CHUNKED_ABOVE_BYTES
        answer = await (self._send_parts(deposit) if in_parts else self._send_one(deposit))
        if isinstance(answer, Answer):
            return judge(deposit, answer, self._now()), answer
        return answer, Answer(0)

    async def _send_parts(self, deposit: Deposit) -> Answer | LaneFault | ImageFault:
        """The answer that ended the upload. What Cloudinary refuses to continue is sent anew."""
        answer: Answer | LaneFault | ImageFault = Answer(0)
        for sent, part in enumerate(self._unfinished.parts(deposit)):
            answer = await self._send_one(deposit, part)
            if self._unfinished.stopped(deposit, part, answer, self._now()):
                is_continued = not sent and part.first > 0
                if is_continued and isinstance(answer, Answer) and answer.status == 400 and not is_stale(answer):
                    return await self._send_parts(deposit)
                break
        return answer

    async def _send_one(self, deposit: Deposit, part: Part | None = None) -> Answer | LaneFault | ImageFault:
        """The file, or a part of it. Each request has a signature of its own, which is valid for an hour."""
        fields = upload_fields(self._options, self._mode, deposit, int(self._now()))
        leaf = deposit.public_id.rpartition("/")[2]
        cargo = Cargo(deposit.path, deposit.size_bytes, f"{leaf}.{deposit.extension}")
        return await self._transfer.send(f"{self._url}/{kind_of(deposit.extension)}/upload", fields, cargo, part)

    def _masked(self, outcome: Outcome) -> Outcome:
        """Cloudinary's errors quote the signed string without the secret. This makes sure of it."""
        masked = self._options.masked
        match outcome:
            case ImageFault(code=code, text=text):
                return ImageFault(code, masked(text))
            case LaneFault(code=code, text=text, retry_after_s=retry_after_s):
                return LaneFault(code, masked(text), retry_after_s)
            case Stored():
                return outcome

    async def _learn_mode(self) -> str:
        """Ask for the mode. If Cloudinary is unreachable or has no budget left, the last answer is used."""
        known = self._known.folder_mode
        try:
            async with asyncio.timeout(DISPENSABLE_S if known else None):
                config = await self._admin.ask("config", settings="true")
        except TimeoutError:
            return known
        except StoreTrouble as trouble:
            if known and trouble.fault.code != "configuration":
                return known
            raise
        settings = config.get("settings")
        mode = settings.get("folder_mode") if isinstance(settings, dict) else None
        if mode not in {"dynamic", "fixed"}:
            text = f"Cloudinary does not say the account's folder mode. Set folder_mode in [stores.{self._name}]."
            raise StoreTrouble(LaneFault("configuration", text))
        self._known.remember(folder_mode=str(mode))
        return str(mode)

    async def _numbers(self, series: Series) -> Numbers:
        """Of all types: a series without `{medium}` in its name has several."""
        numbers = Numbers(series)
        for kind in KINDS:
            cursor, seen = "", set[str]()
            while True:
                listing = await self._listing(kind, prefix_of(series), cursor)
                numbers.add(public_ids_of(listing), public_ids_of(listing, placeholders=True))
                cursor = _cursor_of(listing)
                if not cursor:
                    break
                if cursor in seen:
                    raise _cut_short()
                seen.add(cursor)
        return numbers

    async def _listing(self, kind: Kind, prefix: str, cursor: str, **more: int) -> dict[str, Any]:
        given = {key: value for key, value in (("prefix", prefix), ("next_cursor", cursor)) if value}
        where = ("resources", kind, self._options.delivery_type)
        return checked(await self._admin.ask(*where, max_results=LISTED_MAX, **given, **more))


class Known:
    """The account's last answers, in a small file of the state folder. Another address is another account."""

    def __init__(self, path: Path, upload_prefix: str) -> None:
        self._path = path
        self._said: dict[str, Any] = {"upload_prefix": upload_prefix}
        with suppress(OSError, ValueError):
            said = json.loads(path.read_bytes())
            if isinstance(said, dict) and said.get("upload_prefix") == upload_prefix:
                self._said = said

    @property
    def folder_mode(self) -> str:
        mode = self._said.get("folder_mode")
        return mode if mode in {"dynamic", "fixed"} else ""

    def bytes_max(self, kind: Kind) -> int:
        """The largest file of a resource type; 0 if it is not known."""
        limit = self._said.get(f"{kind}_bytes_max")
        return limit if isinstance(limit, int) else 0

    def remember(self, **said: str | int) -> None:
        """Written whole or not at all. If the folder cannot be written, the next start asks again."""
        self._said = {**self._said, **said}
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(f".{os.getpid()}.tmp")
            beside.write_text(json.dumps(self._said), encoding="utf-8")
            os.replace(beside, self._path)


def _cut_short() -> StoreTrouble:
    return StoreTrouble(LaneFault("unknown", "The account's list does not end: it repeated a cursor."))


def _cursor_of(listing: Mapping[str, Any]) -> str:
    cursor = listing.get("next_cursor")
    return cursor if isinstance(cursor, str) else ""


def _too_large(deposit: Deposit, limit: int) -> str:
    kind = kind_of(deposit.extension)
    advice = "Render smaller, save as webp," if kind == "image" else "Render a smaller file,"
    return (
        f"The file has {deposit.size_bytes:,} bytes, the account takes {PLURALS[kind]} up to {limit:,}. {advice} "
        f"or move the account to a larger plan, then retry the image."
    )
