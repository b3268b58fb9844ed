"""Texts as the shared log has them: each encrypted with a key of its own, which is wrapped under a key of the boxes.

What an UPDATE or DELETE leaves behind in PostgreSQL (dead rows, its write-ahead log, backups, standbys) cannot be
erased. So it holds nothing that can be read without a wrapping key, which is at the boxes alone. Salt and lookup key of
a text are encrypted too: with them a short text could be guessed from its digest.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comfyledger.core.values import Blob
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.key_file import KEY_BYTES

_NONCE_BYTES: Final = 12
_ONCE: Final = bytes(_NONCE_BYTES)
"""The nonce of a text. Its key encrypts nothing else."""
_content = msgspec.msgpack.Encoder()
_contents = msgspec.msgpack.Decoder(tuple[bytes, bytes, str])


class Sealed(NamedTuple):
    """`wrapped`: the key of `content`, under the wrapping key of `generation`."""

    digest: str
    content: bytes
    generation: int
    wrapped: bytes


def seal(blob: Blob, generation: int, wrapping: AESGCM) -> Sealed:
    """Encrypt a text with a new key."""
    key, name = os.urandom(KEY_BYTES), blob.digest.encode()
    content = AESGCM(key).encrypt(_ONCE, _content.encode((blob.salt, blob.content, blob.key)), name)
    return Sealed(blob.digest, content, generation, wrap(blob.digest, key, wrapping))


def unseal(sealed: Sealed, wrapping: AESGCM) -> Blob:
    """Raises LedgerUnusable if it was not sealed under this key, or was changed."""
    key = unwrap(sealed.digest, sealed.wrapped, wrapping)
    try:
        plain = AESGCM(key).decrypt(_ONCE, sealed.content, sealed.digest.encode())
    except InvalidTag as error:
        raise _changed(sealed.digest) from error
    salt, content, lookup = _contents.decode(plain)
    return Blob(sealed.digest, salt, content, lookup)


def wrap(name: str, key: bytes, wrapping: AESGCM) -> bytes:
    """A key for storage beside what it is for: `name`, the digest of a text for example."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + wrapping.encrypt(nonce, key, name.encode())


def unwrap(name: str, wrapped: bytes, wrapping: AESGCM) -> bytes:
    """Raises LedgerUnusable if it was not wrapped under this key, for this name."""
    try:
        return wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], name.encode())
    except InvalidTag as error:
        raise _changed(name) from error


def _changed(name: str) -> LedgerUnusable:
    text = f"The shared log has a key or a text that was changed: {name[:16]}."
    return LedgerUnusable(text, hint="Find out what happened to the database; docs/fleet.md shows the ways back.")
