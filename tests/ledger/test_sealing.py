"""Texts as the database has them: readable with their wrapping key alone, and as they were."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comfyledger.core.values import blob_of
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.sealing import Sealed, seal, unseal, unwrap, wrap
from support.hidden_texts import hides

KEY, OTHER = AESGCM(bytes(32)), AESGCM(bytes([1]) * 32)
BLOB = blob_of(b"a secret that nobody but Areg may know", b"salt of sixteen.", "a lookup key of the text")


def test_a_text_comes_back_with_its_salt_and_lookup_key() -> None:
    assert unseal(seal(BLOB, 1, KEY), KEY) == BLOB


def test_nothing_that_could_confirm_a_guess_is_readable() -> None:
    sealed = seal(BLOB, 1, KEY)
    for text in (BLOB.content, BLOB.salt, BLOB.key.encode()):
        assert not hides(sealed.content + sealed.wrapped, text)


def test_the_same_text_is_never_sealed_twice_in_the_same_way() -> None:
    one, other = seal(BLOB, 1, KEY), seal(BLOB, 1, KEY)
    assert one.content != other.content
    assert one.wrapped != other.wrapped


def test_another_wrapping_key_or_a_changed_byte_is_refused() -> None:
    sealed = seal(BLOB, 1, KEY)
    flipped = bytes([sealed.content[0] ^ 1]) + sealed.content[1:]
    strange = seal(blob_of(b"another", os.urandom(16)), 1, KEY)
    for given, key in (
        (sealed, OTHER),
        (sealed._replace(content=flipped), KEY),
        (sealed._replace(wrapped=strange.wrapped), KEY),
        (Sealed(sealed.digest, *strange[1:]), KEY),
    ):
        with pytest.raises(LedgerUnusable, match="was changed"):
            unseal(given, key)


def test_a_key_that_is_wrapped_anew_opens_the_same_text() -> None:
    sealed = seal(BLOB, 1, KEY)
    anew = wrap(BLOB.digest, unwrap(BLOB.digest, sealed.wrapped, KEY), OTHER)
    assert unseal(sealed._replace(generation=2, wrapped=anew), OTHER) == BLOB
