"""A store against the log, both ways, by the store's own list.

First the names that the store has by the log are written to a scratch file, then the store's list, and last the names
given are queried. In this order an upload meanwhile causes no finding. Both lists are sorted, so memory stays flat for
any number of images. Nothing in the store is changed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from comfyledger.core.keys import BatchKey
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.ledger.sqlite import projections
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.audit.spool import rows_of_images
from comfyledger.plugin_api import Held, Store, StoreTrouble

YOUNG_MS: Final = 60_000
"""Younger files are left out: the log may be about to record them."""
WAIT_MAX_S: Final = 3 * 3_600.0
"""For a throttled store, in all: an account gets new calls every hour."""
WAIT_STEP_S: Final = 5.0
CHECKS_MAX: Final = 100
"""This many files that a list lacks are queried one by one, because a list may be a little out of date."""

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

_TABLES: Final = (
    "CREATE TABLE wanted (public_id TEXT PRIMARY KEY, extension TEXT, size INTEGER, md5 TEXT, sha256 TEXT,"
    " image_id TEXT, file TEXT) WITHOUT ROWID",
    "CREATE TABLE held (public_id TEXT, extension TEXT, size INTEGER, md5 TEXT, sha256 TEXT, image_id TEXT, file TEXT,"
    " created_at INTEGER, PRIMARY KEY (public_id, extension)) WITHOUT ROWID",
    "CREATE TABLE misplaced (public_id TEXT PRIMARY KEY) WITHOUT ROWID",
)
_INDEXES: Final = (
    "CREATE INDEX held_by_file ON held (file)",
    "CREATE INDEX held_by_image ON held (image_id) WHERE image_id <> ''",
    "CREATE INDEX held_by_md5 ON held (md5) WHERE md5 <> ''",
)


class Wanted(NamedTuple):
    """One file that the store has by the log."""

    public_id: str
    extension: str
    size_bytes: int
    md5: str
    sha256: str
    image_id: str
    file: str


class Comparison:
    """One store against one ledger. `now_ms` is the wall clock; `deep` queries each file without digest in the list.

    The scratch file is created at `scratch`; the caller removes it.
    """

    def __init__(
        self,
        live: sqlite3.Connection,
        name: str,
        store: Store,
        scratch: Path,
        *,
        now_ms: int,
        deep: bool,
        tally: Tally,
        progress: Progress,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._live, self._name, self._store, self._tally = live, name, store, tally
        self._scratch = scratch
        self._now_ms, self._deep = now_ms, deep
        self._progress = progress
        self._sleep, self._waited_s = sleep, 0.0
        self._checks = 0

    async def run(self) -> None:
        """Compare everything. If the store says when to ask again, wait up to a bound; else that is a finding."""
        with closing(sqlite3.connect(self._scratch, isolation_level=None)) as self._lists:
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):
                self._lists.execute(f"PRAGMA {pragma}")
            for statement in _TABLES:
                self._lists.execute(statement)
            try:
                self._write_wanted()
                if self._lists.execute("SELECT 1 FROM wanted LIMIT 1").fetchone() is None:
                    return
                await self._write_held()
                await self._compare()
            except StoreTrouble as trouble:
                self._tally.add("store_unusable", self._name, f"{trouble.fault.code}: {trouble.fault.text}")

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Raises StoreTrouble if the store does not say when to ask again, or not soon enough."""
        while True:
            try:
                return await ask()
            except StoreTrouble as trouble:
                wait_s = trouble.fault.retry_after_s
                if trouble.fault.code != "throttled" or not wait_s or self._waited_s + wait_s > WAIT_MAX_S:
                    raise
            await self._wait(wait_s)

    async def _wait(self, wait_s: float) -> None:
        """In short steps, so that the progress shows how long it takes."""
        left_s = wait_s
        while left_s > 0:
            self._progress(f"seconds until {self._name} answers again", int(wait_s - left_s), int(wait_s))
            step_s = min(WAIT_STEP_S, left_s)
            await self._sleep(step_s)
            left_s -= step_s
        self._waited_s += wait_s

    def _write_wanted(self) -> None:
        elsewhere = 0
        batch: BatchRow | None = None
        self._lists.execute("BEGIN")
        for row in rows_of_images(self._live):
            if batch is None or batch.batch_id != row.batch_id:
                batch = projections.load(self._live, (BatchKey(row.batch_id),)).batch(row.batch_id)
            upload = row.upload(self._name)
            if batch is None or upload is None or upload.state != "stored" or row.is_forgotten:
                continue  # a forgotten image may be there or not
            if any(ref.name == self._name and ref.identity != self._store.identity for ref in batch.stores):
                elsewhere += 1
                continue
            self._want(row, upload.name or row.public_id)
        self._lists.execute("COMMIT")
        if elsewhere:
            sentence = f"{elsewhere} images were uploaded to another store that had the name {self._name}."
            self._tally.add("store_elsewhere", self._name, sentence)

    def _want(self, row: ImageRow, public_id: str) -> None:
        file = public_id.rpartition("/")[2]
        name = f"{row.batch_id}/{row.index}"
        values = (public_id, row.extension, row.size_bytes, row.md5, row.sha256, name, file)
        self._lists.execute("INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    async def _write_held(self) -> None:
        cursor, listed = "", 0
        while True:
            page = await self._answer(partial(self._store.page, "", cursor))
            self._lists.execute("BEGIN")
            rows = [_held_values(held) for held in page.held]
            self._lists.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._lists.execute("COMMIT")
            listed += len(rows)
            self._progress(f"list of {self._name}", listed, 0)
            cursor = page.cursor
            if not cursor:
                break
        for statement in _INDEXES:
            self._lists.execute(statement)

    async def _compare(self) -> None:
        total = self._lists.execute("SELECT count(*) FROM wanted").fetchone()[0]
        sql = (
            "SELECT w.public_id, w.extension, w.size, w.md5, w.sha256, w.image_id, w.file, h.size, h.md5, h.sha256"
            " FROM wanted w LEFT JOIN held h USING (public_id, extension) ORDER BY w.public_id"
        )
        for number, row in enumerate(self._lists.execute(sql), 1):
            wanted = Wanted(*row[:7])
            if row[7] is None:
                await self._add_missing(wanted)
            else:
                await self._compare_bytes(wanted, Held(wanted.public_id, wanted.extension, *row[7:]))
            self._progress(f"images of {self._name}", number, total)
        self._add_foreign()

    async def _compare_bytes(self, wanted: Wanted, held: Held) -> None:
        if held.size_bytes == wanted.size_bytes and not (held.md5 or held.sha256) and self._deep:
            held = await self._check(wanted) or held
        if held.size_bytes != wanted.size_bytes:
            how = f"it has {held.size_bytes} bytes instead of {wanted.size_bytes}"
        elif held.sha256 not in {"", wanted.sha256}:
            how = f"its sha256 is {held.sha256} instead of {wanted.sha256}"
        elif held.md5 not in {"", wanted.md5}:
            how = f"its md5 is {held.md5} instead of {wanted.md5}"
        else:
            return
        self._tally.add("store_different", self._place(wanted.public_id), f"The file has other content: {how}.")

    async def _check(self, wanted: Wanted) -> Held | None:
        return await self._answer(partial(self._store.check, wanted.public_id, wanted.extension))

    async def _add_missing(self, wanted: Wanted) -> None:
        if self._checks < CHECKS_MAX:
            self._checks += 1
            held = await self._check(wanted)
            if held is not None:
                await self._compare_bytes(wanted, held)
                return
        where = (wanted.image_id, wanted.md5, wanted.file, wanted.size_bytes)
        found = self._lists.execute(_ELSEWHERE, where).fetchone()
        if found is not None:
            self._lists.execute("INSERT OR IGNORE INTO misplaced VALUES (?)", found[:1])
            sentence = f"It is at {found[0]}.{found[1]} instead."
            self._tally.add("store_misplaced", self._place(wanted.public_id), sentence)
        else:
            sentence = f"The log says that {self._name} has this image, but it does not."
            self._tally.add("store_missing", self._place(wanted.public_id), sentence)

    def _add_foreign(self) -> None:
        """Add files in our folders under names that were never given. Misplaced files are not added again."""
        folders = {
            fold(folder) for (folder,) in self._live.execute("SELECT row ->> '$.folder' FROM series WHERE key <> ''")
        }
        for public_id, extension in self._unwanted():
            folder = public_id.rpartition("/")[0]
            if fold(folder) in folders and not self._was_given(public_id):
                sentence = f"{public_id}.{extension} is in a folder of this ledger, which never gave that name."
                self._tally.add("store_foreign", self._place(public_id), sentence)

    def _unwanted(self) -> Iterator[tuple[str, str]]:
        sql = (
            "SELECT h.public_id, h.extension FROM held h WHERE h.created_at <= ? AND h.public_id NOT IN"
            " (SELECT public_id FROM wanted UNION ALL SELECT public_id FROM misplaced) ORDER BY h.public_id"
        )
        yield from self._lists.execute(sql, (self._now_ms - YOUNG_MS,))

    def _was_given(self, public_id: str) -> bool:
        sql = "SELECT 1 FROM names_given WHERE name = ?"
        return self._live.execute(sql, (fold(public_id),)).fetchone() is not None

    def _place(self, public_id: str) -> str:
        return f"{self._name}:{public_id}"


_ELSEWHERE: Final = """
    SELECT h.public_id, h.extension FROM held h
    WHERE (h.image_id <> '' AND h.image_id = ?1 OR h.md5 <> '' AND h.md5 = ?2 OR h.file = ?3 AND h.size = ?4)
      AND h.public_id NOT IN (SELECT public_id FROM wanted)
    LIMIT 1"""


def _held_values(held: Held) -> tuple[str | int, ...]:
    file, digests = held.public_id.rpartition("/")[2], (held.md5, held.sha256)
    return (held.public_id, held.extension, held.size_bytes, *digests, held.image_id, file, held.created_at_ms)
