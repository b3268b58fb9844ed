"""Makes a wrapping key useless after something was forgotten: a new one is made, the keys of all texts that are left
are wrapped under it, and then each box destroys the older one.

Every step is a transaction, and may be the last before a kill: the next look goes on from what the database says. A box
destroys a key only if the newer one is in its file and no text needs the older one. So what an old page, the
write-ahead log or a backup of PostgreSQL has of a forgotten text can be read by nobody once all boxes have looked.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import msgspec

from comfyledger import crash_points
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.connection import Connection, connected, meaning
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.sealing import unwrap, wrap

CALL_S: Final = 5.0
"""For one step."""
BETWEEN_S: Final = 3600.0
"""From one generation to the next, by the clock of the database."""
PAGE_KEYS: Final = 500
PAGES: Final = 20
"""Of one look: a daemon that ends waits for it."""
_REWRAP_LOCK: Final = 0x636C_6B79
"""Of the advisory lock of whoever wraps keys anew."""

_STATE: Final = """
SELECT generation, is_due, is_wanted, is_alone, extract(epoch FROM now() - made) FROM wrapping_keys
WHERE generation = (SELECT generation FROM head)"""
_LOCK: Final = "SELECT generation FROM head FOR UPDATE"
_BEGIN: Final = "UPDATE head SET generation = %s"
_OLD: Final = """
SELECT digest, generation, wrapped FROM blob_keys WHERE digest > %s AND generation < %s
ORDER BY digest LIMIT %s FOR UPDATE"""
_REWRAP: Final = """
UPDATE blob_keys SET generation = %s, wrapped = decode(x.wrapped, 'base64')
FROM json_to_recordset(%s) AS x(digest text, wrapped text) WHERE blob_keys.digest = x.digest"""
_ALONE: Final = """
UPDATE wrapping_keys SET is_alone = true WHERE generation = %s
AND NOT EXISTS (SELECT 1 FROM blob_keys WHERE blob_keys.generation < wrapping_keys.generation)"""
"""It looks once more, because keys are destroyed on its word."""
_WANT: Final = "UPDATE wrapping_keys SET is_wanted = true WHERE generation = %s"
_OF_BOX: Final = "SELECT generation FROM box_keys WHERE box = %s"
_NOTE: Final = """
INSERT INTO box_keys (box, generation) VALUES (%s, %s)
ON CONFLICT (box) DO UPDATE SET generation = excluded.generation"""


class KeyState(msgspec.Struct, frozen=True):
    """Of the newest wrapping key. `is_due`: something was forgotten since it was made. `is_wanted`: a person asked for
    the next one. `is_alone`: no text needs an older one. `age_s`: since it was made.
    """

    generation: int
    is_due: bool
    is_wanted: bool
    is_alone: bool
    age_s: float


class Rotation:
    """What one box does for the wrapping keys of its fleet."""

    def __init__(self, address: str, keys: Keys, box: str) -> None:
        self._address, self._keys, self._box = address, keys, box
        self._upto = (0, "")
        """The generation under which keys were wrapped, and the last digest of these."""
        self._is_clean = False

    def tend(self) -> bool:
        """Do what is to be done now, whichever box does it. Returns whether there is more to do at once.

        Raises LogUnreachable, LedgerUnusable, OSError.
        """
        keys = self._keys
        with closing(connected(self._address, CALL_S)) as connection, meaning():
            state = _learned(connection, keys)
            if state.is_wanted or (state.is_due and state.age_s >= BETWEEN_S):
                begin_next(connection, keys, state.generation)
                crash_points.at("keys.made")
                state = _learned(connection, keys)
                crash_points.at("keys.learned")
            has_more = not state.is_alone and self._rewrap(connection, state.generation)
            found = key_state(connection)
            if found.is_alone:
                self._destroy_older(min(found.generation, keys.newest))
            note(connection, self._box, keys.oldest)
        return has_more

    def _destroy_older(self, needed: int) -> None:
        """Those before the generation under which all texts were found, which may not be the newest any more. Once in a
        process also what an earlier one has left of such a key.
        """
        keys = self._keys
        if keys.oldest < needed:
            crash_points.at("keys.rewrapped")
        elif self._is_clean:
            return
        keys.destroy_below(needed)
        self._is_clean = True

    def _rewrap(self, connection: Connection, generation: int) -> bool:
        """Wrap some keys anew. Returns whether there are more, unless another box is at it."""
        last = self._upto[1] if self._upto[0] == generation else ""
        for _ in range(PAGES):
            connection.within(CALL_S)
            with connection.transaction():
                if not _has_lock(connection):
                    return False
                rows = connection.execute(_OLD, (last, generation, PAGE_KEYS)).fetchall()
                connection.execute(*(_rewrapping(self._keys, generation, rows) if rows else (_ALONE, (generation,))))
            if not rows:
                self._upto = (0, "")
                return False
            last = rows[-1][0]
            self._upto = (generation, last)
            crash_points.at("keys.page")
        return True


def _learned(connection: Connection, keys: Keys) -> KeyState:
    keys.follow(connection)
    return key_state(connection)


def want_next(address: str) -> int:
    """Ask for the next generation now, whatever was forgotten: the daemons make it. Returns the present generation.

    Raises LogUnreachable, LedgerUnusable.
    """
    with closing(connected(address, CALL_S)) as connection, meaning():
        state = key_state(connection)
        connection.execute(_WANT, (state.generation,))
        return state.generation


def key_state(connection: Connection) -> KeyState:
    """Raises LedgerUnusable for a database that lost it, psycopg.Error."""
    row = connection.execute(_STATE).fetchone()
    if row is None:
        raise LedgerUnusable("The shared log has lost its wrapping key.", hint="Restore the database.")
    return KeyState(row[0], row[1], row[2], row[3], float(row[4]))


def begin_next(connection: Connection, keys: Keys, generation: int) -> None:
    """Make the next generation, unless another box did: `generation` is the newest that the caller saw.

    Raises psycopg.Error.
    """
    connection.within(CALL_S)
    with connection.transaction():
        row = connection.execute(_LOCK).fetchone()
        if row is not None and row[0] == generation == keys.newest:
            connection.execute(_BEGIN, (keys.make_next(connection),))


def _has_lock(connection: Connection) -> bool:
    row: Any = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_REWRAP_LOCK,)).fetchone()
    return bool(row[0])


def _rewrapping(keys: Keys, generation: int, rows: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    anew = [{"digest": digest, "wrapped": _anew(keys, generation, digest, *row)} for digest, *row in rows]
    return _REWRAP, (generation, msgspec.json.encode(anew).decode())


def _anew(keys: Keys, generation: int, digest: str, old: int, wrapped: bytes) -> str:
    """Raises LedgerUnusable for a key of a generation that this box does not have."""
    before, now = keys.cipher(old), keys.cipher(generation)
    if before is None or now is None:
        text = f"This box lacks the wrapping key of generation {old}, which texts of the fleet need."
        raise LedgerUnusable(text, hint="The database was restored from an older state: docs/fleet.md.")
    return base64.b64encode(wrap(digest, unwrap(digest, bytes(wrapped), before), now)).decode()


def note(connection: Connection, box: str, oldest: int) -> None:
    """Tell the others which keys this box still has. Raises psycopg.Error."""
    connection.within(CALL_S)
    row = connection.execute(_OF_BOX, (box,)).fetchone()
    if row is None or row[0] != oldest:
        connection.execute(_NOTE, (box, oldest))
