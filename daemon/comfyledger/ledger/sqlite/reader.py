"""Reads a ledger in SQLite beside its writer, in short transactions on a read-only connection and thread of its own.

Every read has a limit. None keeps a transaction open between two calls, because the write-ahead log could not be
checkpointed meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec

from comfyledger.core.backends import BackendRow
from comfyledger.core.inputs import InputRow
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, RequestRow, SeriesRow
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.errors import Refused
from comfyledger.ledger import ports
from comfyledger.ledger.connection_thread import LedgerThread
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.ledger.ports import (
    BatchFilter,
    Dependents,
    Descent,
    ImageCounts,
    ImageFilter,
    InputFilter,
    LogLines,
    LogWanted,
    Turns,
)
from comfyledger.ledger.sqlite import (
    blobs,
    image_lists,
    image_uses,
    input_rows,
    log_table,
    projections,
    queries,
    schema_objects,
)
from comfyledger.ledger.sqlite.locking import is_lock
from comfyledger.wire.requests.reading import CountBy

P = ParamSpec("P")
T = TypeVar("T")


_AGAIN: Final = "Repeat the request in a moment."
BUSY_TIMEOUT_S: Final = 5.0
"""How long a statement waits for a lock of another program."""


class Reader(ports.Reader):
    """A read-only connection with its thread, and another one for counts. Each is opened by its first read.

    `ports.Reader` documents the methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = LedgerThread("ledger-reader")
        self._connection: sqlite3.Connection | None = None
        self._counter: Reader | None = None
        """Counts, which take the longest, so that no other read waits for one. Made by the first count."""

    async def close(self) -> None:
        """Close the connection and stop the thread."""

        def end() -> None:
            if self._connection is not None:
                self._connection.close()

        if self._counter is not None:
            await self._counter.close()
        await self._thread.call(end)
        self._thread.end()

    async def _run(self, call: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            if self._connection is None:
                self._connection = read_only(self._path)
            try:
                return call(self._connection, *args, **kwargs)
            except sqlite3.DatabaseError as error:
                if is_lock(error):
                    raise Refused("busy", "Another program holds a lock of the ledger.", hint=_AGAIN) from error
                if not schema_objects.must_trust(error):
                    raise
                schema_objects.trust(self._connection)
            return call(self._connection, *args, **kwargs)

        return await self._thread.call(work)

    async def page(
        self, *, after: int, limit: int, stream: str | None = None, user: str | None = None, upto: int | None = None
    ) -> list[Line]:
        return await self._run(log_table.read_page, after=after, limit=limit, stream=stream, user=user, upto=upto)

    async def head(self) -> Head:
        return await self._run(log_table.read_head)

    async def seen(self, lines: list[Line]) -> list[Line]:
        return lines

    async def texts(self, digests: list[str], bytes_max: int | None = None) -> dict[str, bytes]:

        def read(connection: sqlite3.Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            read_bytes = 0
            for digest in digests:
                if (content := blobs.get(connection, digest)) is not None:
                    found[digest] = content
                    read_bytes += len(content)
                if bytes_max is not None and read_bytes >= bytes_max:
                    break
            return found

        return await self._run(read)

    async def batch(self, batch_id: str, label: str | None = None) -> BatchRow | None:
        def read(connection: sqlite3.Connection) -> BatchRow | None:
            sql = "SELECT row FROM batches WHERE batch_id = ?1 AND (?2 IS NULL OR row ->> '$.label' = ?2)"
            row = connection.execute(sql, (batch_id, label)).fetchone()
            return projections.decode_batch(row[0]) if row else None

        return await self._run(read)

    async def request(self, label: str, request_id: str) -> RequestRow | None:
        def read(connection: sqlite3.Connection) -> RequestRow | None:
            sql = "SELECT row FROM requests WHERE label = ? AND request_id = ?"
            row = connection.execute(sql, (label, request_id)).fetchone()
            return projections.decode_request(row[0]) if row else None

        return await self._run(read)

    async def batches(self, wanted: BatchFilter) -> list[BatchRow]:
        return await self._run(_batches, wanted)

    async def images(self, wanted: ImageFilter) -> list[ImageRow]:
        return await self._run(image_lists.images, wanted)

    async def count_images(self, wanted: ImageFilter, by: CountBy | None = None, every: int = 0) -> ImageCounts:
        if self._counter is None:
            self._counter = Reader(self._path)
        return await self._counter._run(image_lists.count, wanted, by, every)

    async def prompt(self, batch_id: str, prompt: int) -> PromptRow | None:
        def read(connection: sqlite3.Connection) -> PromptRow | None:
            sql = "SELECT row FROM prompts WHERE batch_id = ? AND prompt = ?"
            row = connection.execute(sql, (batch_id, prompt)).fetchone()
            return projections.decode_prompt(row[0]) if row else None

        return await self._run(read)

    async def image_named(self, public_id: str) -> ImageRow | None:

        def read(connection: sqlite3.Connection) -> ImageRow | None:
            sql = (
                "SELECT i.row FROM names_given n JOIN images i ON i.batch_id = n.batch_id AND i.image = n.image"
                " WHERE n.name = ?"
            )
            row = connection.execute(sql, (fold(public_id),)).fetchone()
            return projections.decode_image(row[0]) if row else None

        return await self._run(read)

    async def image(self, batch_id: str, index: int) -> ImageRow | None:
        def read(connection: sqlite3.Connection) -> ImageRow | None:
            sql = "SELECT row FROM images WHERE batch_id = ? AND image = ?"
            row = connection.execute(sql, (batch_id, index)).fetchone()
            return projections.decode_image(row[0]) if row else None

        return await self._run(read)

    async def these_images(self, batch_id: str, indexes: tuple[int, ...]) -> list[ImageRow]:

        def read(connection: sqlite3.Connection) -> list[ImageRow]:
            sql = "SELECT row FROM images WHERE batch_id = ? AND image = ?"
            found = (connection.execute(sql, (batch_id, index)).fetchone() for index in indexes)
            return [projections.decode_image(row[0]) for row in found if row]

        return await self._run(read)

    async def log_lines(self, wanted: LogWanted) -> LogLines:
        return await self._run(queries.log_lines, wanted)

    async def name_place(self, key: str) -> tuple[str, int] | None:
        return await self._run(queries.name_place, key)

    async def input(self, sha256: str, label: str | None = None) -> InputRow | None:
        return await self._run(input_rows.one, sha256, label)

    async def these_inputs(self, sha256s: Sequence[str], label: str | None = None) -> list[InputRow]:
        return await self._run(input_rows.these, sha256s, label)

    async def inputs(self, wanted: InputFilter) -> list[InputRow]:
        return await self._run(input_rows.usable, wanted)

    async def inputs_kept(self, after: str = "", limit: int = 1_000) -> list[InputRow]:
        return await self._run(input_rows.kept, after, limit)

    async def inputs_unused(self, ended_before_ms: int, limit: int) -> list[InputRow]:
        ending = await self._run(input_rows.ending, limit)
        found: list[input_rows.Idle] = []
        after, more = "", ended_before_ms > 0 and len(ending) < limit
        while more:
            found, after = await self._run(input_rows.idle, ended_before_ms, after, found, limit - len(ending))
            more = bool(after)
        return [*ending, *(row for _, row in found)]

    async def inputs_at(self, backend: str) -> dict[str, int]:
        return await self._run(input_rows.copies_at, backend)

    async def series(self, key: str) -> SeriesRow | None:
        return await self._run(queries.series_row, key)

    async def series_ending(self, end: str, label: str | None = None) -> list[SeriesRow]:
        return await self._run(queries.series_ending, end, label)

    async def prompt_place(self, prompt_id: str, after: int, upto: int) -> tuple[str, int] | None:
        return await self._run(queries.prompt_place, prompt_id, after, upto)

    async def prompts(self, batch_id: str) -> list[PromptRow]:
        return await self._run(queries.prompts, batch_id)

    async def turns(self, batch_id: str, label: str | None = None) -> Turns:
        return await self._run(queries.turns, batch_id, label)

    async def descent(self, batch_id: str, image: int | None, label: str | None = None) -> Descent:
        return await self._run(image_uses.descent, batch_id, image, label)

    async def dependents(self, batch_id: str, images: Sequence[int] | None) -> Dependents:
        return await self._run(image_uses.dependents, batch_id, images)

    async def parked_bytes(self, batch_ids: list[str]) -> int:

        def read(connection: sqlite3.Connection) -> int:
            sql = (
                "SELECT coalesce(sum(i.row ->> '$.size_bytes'), 0) FROM json_each(?) b"
                " JOIN images i ON i.batch_id = b.value WHERE i.state = 'parked'"
            )
            found: int = connection.execute(sql, (msgspec.json.encode(batch_ids).decode(),)).fetchone()[0]
            return found

        return await self._run(read)

    async def owing(self, store: str) -> dict[str, int]:

        def read(connection: sqlite3.Connection) -> dict[str, int]:
            sql = (
                "SELECT i.batch_id, count(*) FROM images i, json_each(i.row, '$.uploads') u"
                " WHERE u.value ->> '$.store' = ? AND (u.value ->> '$.state' = 'deleting'"
                " OR i.state NOT IN ('stored', 'cancelled', 'forgetting', 'forgotten')"
                " AND u.value ->> '$.state' IN ('owed', 'uploading', 'parked')) GROUP BY i.batch_id"
            )
            return dict(connection.execute(sql, (store,)).fetchall())

        return await self._run(read)

    async def backends(self) -> list[BackendRow]:
        return await self._run(projections.backends)

    async def webhooks(self) -> list[WebhookRow]:
        return await self._run(projections.webhooks)

    async def webhook_progress(self) -> list[WebhookProgress]:
        return await self._run(projections.webhook_progress)

    async def lanes(self) -> list[LaneRow]:
        def read(connection: sqlite3.Connection) -> list[LaneRow]:
            return [projections.decode_lane(raw) for (raw,) in connection.execute("SELECT row FROM lanes")]

        return await self._run(read)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot change the ledger, not even by closing. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
    )
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as error:
        if not schema_objects.must_trust(error):
            connection.close()
            raise
        schema_objects.trust(connection)
    return connection


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _off(label: str | None) -> str:
    """In front of a column it keeps SQLite from its index. The batches of a label are looked up one by one: a list
    costs what the label has, so its time does not show what others have of the same user.
    """
    return "" if label is None else "+"


def _batches(connection: sqlite3.Connection, wanted: BatchFilter) -> list[BatchRow]:
    where, values = ["1"], list[str | int]()
    off = _off(wanted.label)
    if wanted.username_key is not None:
        where.append(f"{off}user_key = ?")
        values.append(wanted.username_key)
    if wanted.open_only:
        where.append(f"{off}status IN ('open', 'held')")
    if wanted.before is not None:
        where.append(f"{off}batch_id < ?")
        values.append(wanted.before)
    if wanted.label is not None:
        where.append(queries.OF_LABEL)
        values.append(wanted.label)
    if wanted.series is not None:
        where.append(f"? IN (SELECT value FROM json_each({queries.EVERY_SERIES}))")  # noqa: S608
        values.append(wanted.series)
    sql = f"SELECT row FROM batches WHERE {' AND '.join(where)} ORDER BY batch_id DESC LIMIT ?"  # noqa: S608
    return [projections.decode_batch(raw) for (raw,) in connection.execute(sql, (*values, wanted.limit))]
