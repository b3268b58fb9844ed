"""The texts in PostgreSQL: written sealed, read with the wrapping keys of this box, erased with their keys."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comfyledger.core.values import Blob
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.ledger.shared.connection import Connection
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.sealing import Sealed, seal, unseal

TABLES: Final = """
CREATE TABLE blobs (
    digest text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL,
    content bytea NOT NULL
);
CREATE INDEX blobs_position ON blobs (position, digest);
CREATE TABLE blob_keys (
    digest text COLLATE "C" PRIMARY KEY,
    generation integer NOT NULL,
    wrapped bytea NOT NULL
) WITH (fillfactor = 70);
"""
"""The keys are apart, because all of them are written anew when something was forgotten, and no text is. Room in their
pages keeps these updates out of the index.
"""
READ: Final = """
SELECT position, digest, content, generation, wrapped FROM blobs JOIN blob_keys USING (digest)
WHERE position > %s AND position <= %s ORDER BY position, digest"""
_READ_FIRST: Final = """
SELECT position, digest, content, generation, wrapped FROM blobs JOIN blob_keys USING (digest)
WHERE position = 0 AND digest > %s ORDER BY digest LIMIT %s"""
_READ_THESE: Final = """
SELECT position, digest, content, generation, wrapped FROM blobs JOIN blob_keys USING (digest)
WHERE digest = ANY(%s) ORDER BY position, digest"""
_KEEP: Final = """
WITH given AS (
    SELECT digest, decode(content, 'base64') AS content, generation, decode(wrapped, 'base64') AS wrapped
    FROM json_to_recordset(%s) AS x(digest text, content text, generation integer, wrapped text)
), kept AS (
    INSERT INTO blobs (digest, position, content) SELECT digest, %s, content FROM given
    ON CONFLICT (digest) DO NOTHING RETURNING digest
)
INSERT INTO blob_keys (digest, generation, wrapped)
SELECT digest, generation, wrapped FROM given JOIN kept USING (digest)"""
"""A text that is there already keeps its key."""
_ERASE: Final = ("DELETE FROM blob_keys WHERE digest = ANY(%s)", "DELETE FROM blobs WHERE digest = ANY(%s)")
_DUE: Final = "UPDATE wrapping_keys SET is_due = true WHERE generation = (SELECT generation FROM head)"

_OF_LEDGER: Final = "the ledger's secret"
"""In place of a digest."""

Statement = tuple[str, tuple[Any, ...]]


class Text(NamedTuple):
    """A text, and the position of the first event that was written with it: no page of lines that need it ends before
    it, and none begins after it that erases what it takes the place of.
    """

    position: int
    blob: Blob


class Sealer(NamedTuple):
    """Encrypts new texts."""

    generation: int
    wrapping: AESGCM

    def seal(self, blob: Blob) -> Sealed:
        return seal(blob, self.generation, self.wrapping)


def sealer(connection: Connection, keys: Keys, generation: int) -> Sealer:
    """`generation`: of the head, which is locked. Raises LedgerUnusable, psycopg.Error."""
    return Sealer(generation, _cipher(connection, keys, generation))


def _cipher(connection: Connection, keys: Keys, generation: int) -> AESGCM:
    """Raises LedgerUnusable for a generation that this box does not have and cannot learn, LogUnreachable if it cannot
    keep it, psycopg.Error.
    """
    if generation > keys.newest:
        try:
            keys.follow(connection)
        except OSError as error:
            raise LogUnreachable(f"This box cannot write its file of keys: {error.strerror}.") from error
    found = keys.cipher(generation)
    if found is None:
        text = f"The shared log has a key of generation {generation}; this box has {keys.oldest} to {keys.newest}."
        raise LedgerUnusable(text, hint="The database was restored from an older state: docs/fleet.md.")
    return found


# ---- reading


def read(connection: Connection, keys: Keys, after: int, upto: int) -> list[Text]:
    """The texts that came with the lines after a position. Raises LedgerUnusable, psycopg.Error."""
    return opened(connection, keys, connection.execute(READ, (after, upto)).fetchall())


def kept_secret(secret: str, sealer: Sealer) -> Statement:
    """Writes the ledger's secret: the keys of signed addresses and of calls between boxes follow from it, and with it
    a short request could be guessed from its digest. No page of lines has it.
    """
    return kept(-1, [Blob(_OF_LEDGER, b"", secret.encode())], sealer)


def read_secret(connection: Connection, keys: Keys) -> str:
    """Raises LedgerUnusable for a database that lost it, psycopg.Error."""
    found = opened(connection, keys, connection.execute(_READ_THESE, ([_OF_LEDGER],)).fetchall())
    if not found:
        raise LedgerUnusable("The shared log has lost its ledger's secret.", hint="Restore the database.")
    return found[0].blob.content.decode()


def read_first(connection: Connection, keys: Keys, after: str, limit: int) -> list[Text]:
    """The texts from before the fleet began, whose digests follow another. Raises LedgerUnusable, psycopg.Error."""
    return opened(connection, keys, connection.execute(_READ_FIRST, (after, limit)).fetchall())


def opened(connection: Connection, keys: Keys, rows: list[Any]) -> list[Text]:
    """The rows of `READ`. Those whose keys were wrapped anew meanwhile are read again, since this box may have
    destroyed the older wrapping key. Raises LedgerUnusable, psycopg.Error.
    """
    held = {generation: keys.cipher(generation) for generation in {row[3] for row in rows}}  # none is destroyed here
    stale = [row[1] for row in rows if held[row[3]] is None and row[3] < keys.newest]
    if stale:
        again = connection.execute(_READ_THESE, (stale,)).fetchall()
        rows = sorted([*(row for row in rows if row[1] not in stale), *again])
    return [_opened(row, held.get(row[3]) or _cipher(connection, keys, row[3])) for row in rows]


def _opened(row: Any, cipher: AESGCM) -> Text:
    position, digest, content, generation, wrapped = row
    return Text(position, unseal(Sealed(digest, bytes(content), generation, bytes(wrapped)), cipher))


# ---- writing


def kept(position: int, blobs: Iterable[Blob], sealer: Sealer) -> Statement:
    """Writes new texts. `position`: of the first event that was written with them."""
    each = {blob.digest: blob for blob in blobs}  # one that came twice must not get two keys
    return _KEEP, (msgspec.json.encode([_row(sealer.seal(blob)) for blob in each.values()]).decode(), position)


def erased(digests: Sequence[str]) -> Iterator[Statement]:
    """Removes texts and their keys, and has the next wrapping key made."""
    for statement in _ERASE:
        yield statement, (list(digests),)
    yield _DUE, ()


def _row(sealed: Sealed) -> dict[str, Any]:
    return {
        "digest": sealed.digest,
        "content": base64.b64encode(sealed.content).decode(),
        "generation": sealed.generation,
        "wrapped": base64.b64encode(sealed.wrapped).decode(),
    }
