"""The wrapping keys that a box has: in memory, in its file, and how it learns the next ones.

Generation n + 1 is in PostgreSQL, wrapped under generation n. So a box that was away for any time reads all that came
meanwhile. It writes a key to its file before it relies on it. Threads share one object.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from threading import Lock
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.connection import Connection
from comfyledger.ledger.shared.key_file import KEY_BYTES, NAME, KeyFile
from comfyledger.ledger.shared.sealing import unwrap, wrap

TABLES: Final = """
CREATE TABLE wrapping_keys (
    generation integer PRIMARY KEY,
    wrapped bytea NOT NULL,
    proof bytea NOT NULL,
    made timestamptz NOT NULL DEFAULT now(),
    is_due boolean NOT NULL DEFAULT false,
    is_wanted boolean NOT NULL DEFAULT false,
    is_alone boolean NOT NULL DEFAULT false
);
CREATE TABLE box_keys (box text PRIMARY KEY, generation integer NOT NULL);
"""
"""`proof` tells whether a key is the one of its generation. `is_due`: something was forgotten, so the next one has to
be made. `is_wanted`: a person asked for that. `is_alone`: no text has a key under an older one any more. `box_keys`:
the oldest that each box still has.
"""
_FROM: Final = "SELECT generation, wrapped, proof FROM wrapping_keys WHERE generation >= %s ORDER BY generation"
_ADD: Final = "INSERT INTO wrapping_keys (generation, wrapped, proof, is_alone) VALUES (%s, %s, %s, %s)"
_OTHER: Final = "Run `comfyledger fleet key` on another box, and `comfyledger fleet join --key-file FILE` here."


class Keys:
    """Those of one box. Raises OSError where the file cannot be read or written."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._lock = Lock()
        self._keys = file.read()
        self._ciphers = {generation: AESGCM(key) for generation, key in self._keys.items()}

    @classmethod
    def beside(cls, ledger: Path) -> Keys:
        """Those of the replica at a path."""
        return cls(KeyFile(ledger.with_name(NAME)))

    @property
    def newest(self) -> int:
        """0 without any key."""
        return max(self._keys, default=0)

    @property
    def oldest(self) -> int:
        return min(self._keys, default=0)

    def check(self) -> None:
        """Raises LedgerUnusable without any key."""
        if not self._keys:
            text = f"This box has no key for the texts of its fleet: {self._file.path} is missing."
            raise LedgerUnusable(text, hint=_OTHER)

    def cipher(self, generation: int) -> AESGCM | None:
        """None for one that this box does not have, or not any more."""
        return self._ciphers.get(generation)

    def oldest_key(self) -> tuple[int, bytes]:
        """What another box needs: with it, it learns all newer ones. Raises LedgerUnusable without any key."""
        self.check()
        return self.oldest, self._keys[self.oldest]

    # ---- what the database has

    def found(self, connection: Connection) -> None:
        """Make the first key of a fleet, in the open transaction that makes its tables. Older keys are destroyed."""
        key = os.urandom(KEY_BYTES)
        with self._lock:
            self._file.begin_anew(1, key)
            self._set({1: key})
        connection.execute(_ADD, (1, b"", _proof(1, key), True))

    def begin_anew(self, connection: Connection, generation: int, key: bytes) -> None:
        """Start from a key that a person brought. Raises LedgerUnusable if it is of another fleet, psycopg.Error."""
        _check_first(connection.execute(_FROM, (generation,)).fetchone(), generation, key)
        with self._lock:
            self._file.begin_anew(generation, key)
            self._set({generation: key})

    def follow(self, connection: Connection) -> None:
        """Learn what is newer. Raises LedgerUnusable if the keys are of another fleet, or the database has lost some;
        psycopg.Error.
        """
        self.check()
        with self._lock:
            newest, key, cipher = self.newest, self._keys[self.newest], self._ciphers[self.newest]
            first, *newer = connection.execute(_FROM, (newest,)).fetchall() or [None]
            _check_first(first, newest, key)
            for generation, wrapped, proof in newer:
                key = unwrap(_name(generation), bytes(wrapped), cipher)
                _check_first((generation, wrapped, proof), generation, key)
                self._file.add(generation, key)
                cipher = AESGCM(key)
                self._set({**self._keys, generation: key})

    def make_next(self, connection: Connection) -> int:
        """Write generation n + 1, wrapped under n, which must be the newest. It is learned by `follow`, here too."""
        generation, key = self.newest + 1, os.urandom(KEY_BYTES)
        wrapped = wrap(_name(generation), key, self._ciphers[self.newest])
        connection.execute(_ADD, (generation, wrapped, _proof(generation, key), False))
        return generation

    def destroy_below(self, generation: int) -> None:
        """Nothing needs the older ones any more."""
        with self._lock:
            self._file.destroy_below(generation)
            self._set({each: key for each, key in self._keys.items() if each >= generation})

    def _set(self, keys: dict[int, bytes]) -> None:
        self._keys, self._ciphers = keys, {generation: AESGCM(key) for generation, key in keys.items()}


def _name(generation: int) -> str:
    return f"generation {generation}"


def _proof(generation: int, key: bytes) -> bytes:
    return hmac.digest(key, b"comfyledger wrapping key %d" % generation, "sha256")


def _check_first(row: Any, generation: int, key: bytes) -> None:
    if row is None:
        text = f"The database has lost the wrapping key of generation {generation}, which this box has."
        raise LedgerUnusable(text, hint="It was restored from an older state; docs/fleet.md shows the ways back.")
    if row[0] != generation or not hmac.compare_digest(bytes(row[2]), _proof(generation, key)):
        raise LedgerUnusable("The wrapping keys of this box are of another fleet.", hint=_OTHER)
