"""The ledger for other programs: events with their texts, or images, in constant memory.

The ledger is read in pages of short transactions, while a daemon may run, up to the end of the log or of the images.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from comfyledger.core.media import Medium
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import ImageRow
from comfyledger.ledger.eventlog import Line, decode
from comfyledger.ledger.ports import LogWanted
from comfyledger.ledger.sqlite import blobs, projections
from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.ledger.sqlite.queries import log_lines
from comfyledger.maintenance.audit.fold import texts_of

PAGE: Final = 500


class Chosen(msgspec.Struct, frozen=True):
    """Which user's, and since when (milliseconds since 1970, UTC). None: all users, from the first.

    `medium`: images of this one only, by what was kept or else is expected. None: all.
    """

    user: str | None = None
    since_ms: int | None = None
    medium: Medium | None = None


class ExportedEvent(msgspec.Struct, frozen=True):
    """An event as in the log, with its texts that were not erased, by their digests."""

    position: int
    at_ms: int
    stream: str
    kind: str
    schema: int
    hash: str
    data: msgspec.Raw
    texts: dict[str, str] = {}


class ExportedImage(msgspec.Struct, frozen=True):
    """An image as it is now. `urls` by store; `requested_at_ms` is when its number was given."""

    name: str
    number: int
    state: str
    username: str
    character: str
    batch_id: str
    image: int
    requested_at_ms: int
    extension: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    md5: str
    urls: dict[str, str]
    medium: Medium
    verdict: str
    rating: int


def events(connection: sqlite3.Connection, chosen: Chosen) -> Iterator[ExportedEvent]:
    """Oldest first. Raises LedgerUnusable for what a newer version wrote."""
    user = fold(chosen.user) if chosen.user is not None else None
    after, upto = 0, read_head(connection).position
    while after < upto:
        page = log_lines(connection, LogWanted(after, upto, user=user, since_ms=chosen.since_ms, limit=PAGE))
        for line in page.lines:
            yield _exported(connection, line)
        if not page.more:
            return
        after = page.position


def _exported(connection: sqlite3.Connection, line: Line) -> ExportedEvent:
    digests = [digest for digest, _ in texts_of(decode(line.kind, line.schema, line.data))]
    found = {digest: blobs.get(connection, digest) for digest in digests}
    texts = {digest: raw.decode(errors="replace") for digest, raw in found.items() if raw is not None}
    data = msgspec.Raw(line.data.encode())
    return ExportedEvent(line.position, line.at_ms, line.stream, line.kind, line.schema, line.hash.hex(), data, texts)


def images(connection: sqlite3.Connection, chosen: Chosen) -> Iterator[ExportedImage]:
    """In the order of batch and index."""
    place: tuple[str, int] = ("", 0)
    sql, values = _images_sql(chosen)
    while page := connection.execute(sql, (*place, *values, PAGE)).fetchall():
        for raw, username, character, at_ms in page:
            row = projections.decode_image(raw)
            place = (row.batch_id, row.index)
            if chosen.medium in (None, row.medium_kept):
                yield _image(row, username, character, at_ms)


def _images_sql(chosen: Chosen) -> tuple[str, tuple[Any, ...]]:
    where, values = ["(i.batch_id, i.image) > (?, ?)"], list[Any]()
    if chosen.user is not None:
        where.append("i.user_key = ?")
        values.append(fold(chosen.user))
    if chosen.since_ms is not None:
        where.append("b.row ->> '$.at_ms' >= ?")
        values.append(chosen.since_ms)
    columns = "i.row, b.row ->> '$.username', b.row ->> '$.character', b.row ->> '$.at_ms'"
    order = "ORDER BY i.batch_id, i.image LIMIT ?"
    sql = f"SELECT {columns} FROM images i JOIN batches b USING (batch_id) WHERE {' AND '.join(where)} {order}"  # noqa: S608
    return sql, tuple(values)


def _image(row: ImageRow, username: str, character: str, at_ms: int) -> ExportedImage:
    return ExportedImage(
        name=row.public_id,
        number=row.number,
        state=row.state,
        username=username,
        character=character,
        batch_id=row.batch_id,
        image=row.index,
        requested_at_ms=at_ms,
        extension=row.extension,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        md5=row.md5,
        urls={upload.store: upload.url for upload in row.uploads if upload.url},
        medium=row.medium_kept,
        verdict=row.verdict,
        rating=row.rating,
    )
