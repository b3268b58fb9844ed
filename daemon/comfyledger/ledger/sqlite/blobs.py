"""Texts that can be erased, beside the log: graphs, inputs, metadata, and error texts from ComfyUI and stores.

An erased text is overwritten in place. Its row stays, as a husk without a digest. If the row were deleted, SQLite would
move its neighbours together, and a copy of one might stay in free space, even with `secure_delete`. Erasing that one
later would miss the copy (SQLite 3.40.1: in 4 of 60 random runs with deleting, in none with overwriting). For the same
reason no text ever changes its length.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from comfyledger.core.events import BatchRequested, Event, ImageForgotten
from comfyledger.core.rows import BatchRow, TextRow
from comfyledger.core.values import Blob

HUSK: Final = "erased:"
"""How the digest of an erased text begins; no other digest does."""

_ERASE: Final = """
    UPDATE blobs SET digest = printf('erased:%057d', rowid), salt = zeroblob(length(salt)),
        content = zeroblob(length(content)), key = CASE key WHEN '' THEN '' ELSE printf('erased:%057d', rowid) END
    WHERE digest = ?"""
_ELSEWHERE: Final = "SELECT 1 FROM template_uses WHERE template = ? AND batch_id <> ? LIMIT 1"
_WITH_WORDS: Final = 'SELECT kind, data FROM events WHERE stream = ? AND instr(data, \'"words":"\') > 0'


def put(connection: sqlite3.Connection, blobs: Iterable[Blob]) -> None:
    """Add texts. One that is there already, by its digest or its key, is not added again."""
    rows = [(blob.digest, blob.salt, blob.content, blob.key) for blob in blobs]
    if rows:
        connection.executemany("INSERT OR IGNORE INTO blobs (digest, salt, content, key) VALUES (?, ?, ?, ?)", rows)


def get(connection: sqlite3.Connection, digest: str) -> bytes | None:
    """The content behind a digest; None if it was erased."""
    row = connection.execute("SELECT content FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return row[0] if row else None


def erase(connection: sqlite3.Connection, digests: Iterable[str]) -> None:
    """Overwrite contents, salts and keys with zeros. The write-ahead log has the old ones until it is emptied."""
    connection.executemany(_ERASE, [(digest,) for digest in digests])


def note_templates(connection: sqlite3.Connection, events: Iterable[tuple[Event, BatchRow | None]]) -> None:
    """Record which batches use which graph: from the request until the whole batch is forgotten.

    Each event comes with its batch, as it is after the message. Requests go first, all in one statement: no batch is
    forgotten before its request.
    """
    requested: list[tuple[str, str]] = []
    forgotten: list[tuple[str, str]] = []
    for event, batch in events:
        match event:
            case BatchRequested(template=template, batch_id=batch_id):
                requested.append((template, batch_id))
            case ImageForgotten(batch_id=batch_id) if batch is not None and batch.forgotten == batch.images:
                forgotten.append((batch.template, batch_id))
            case _:
                pass
    if requested:
        connection.executemany("INSERT INTO template_uses (template, batch_id) VALUES (?, ?)", requested)
    if forgotten:
        connection.executemany("DELETE FROM template_uses WHERE template = ? AND batch_id = ?", forgotten)


# ---- which texts a batch has


class _Named(msgspec.Struct):
    """What the words of an event are about."""

    words: str
    prompt: int = 0
    image: int = 0
    images: tuple[int, ...] = ()


_named: Final = msgspec.json.Decoder(_Named)


def texts_of(connection: sqlite3.Connection, batch_id: str) -> Iterator[TextRow]:
    """The texts of a batch that were not erased. Reads the batch, its prompts and its events, by index."""
    rows: dict[str, TextRow] = {}
    for row in (*_asked(connection, batch_id), *_inputs(connection, batch_id), *_words(connection, batch_id)):
        before = rows.get(row.digest, row)
        images, prompts = {*before.images, *row.images}, {*before.prompts, *row.prompts}
        rows[row.digest] = msgspec.structs.replace(before, images=tuple(images), prompts=tuple(prompts))
    yield from (row for row in rows.values() if get(connection, row.digest) is not None)


def _asked(connection: sqlite3.Connection, batch_id: str) -> Iterator[TextRow]:
    """Graph and metadata, which belong to the whole batch."""
    sql = "SELECT row ->> '$.template', row ->> '$.metadata' FROM batches WHERE batch_id = ?"
    for template, metadata in connection.execute(sql, (batch_id,)).fetchall():
        elsewhere = connection.execute(_ELSEWHERE, (template, batch_id)).fetchone() is not None
        yield TextRow(batch_id, template, whole=True, elsewhere=elsewhere)
        if metadata is not None:
            yield TextRow(batch_id, metadata, whole=True)


def _inputs(connection: sqlite3.Connection, batch_id: str) -> Iterator[TextRow]:
    sql = "SELECT prompt, row ->> '$.inputs' FROM prompts WHERE batch_id = ?"
    for prompt, digest in connection.execute(sql, (batch_id,)):
        if digest is not None:
            yield TextRow(batch_id, digest, prompts=(prompt,))


def _words(connection: sqlite3.Connection, batch_id: str) -> Iterator[TextRow]:
    """All error texts from ComfyUI and stores. The rows have only the last ones."""
    for _, data in connection.execute(_WITH_WORDS, (batch_id,)):
        about = _named.decode(data)
        images = about.images or ((about.image,) if about.image else ())
        yield TextRow(batch_id, about.words, images, () if images else (about.prompt,))
