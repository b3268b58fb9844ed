"""Laws of inflating: whichever library does it, what is taken has the length and the checksum that it states."""

from __future__ import annotations

import random
import sys
import zlib
from collections.abc import Sequence

import pytest

from comfyledger.workers.media import inflating as inflating_module
from comfyledger.workers.media.inflating import ERRORS, crc32, inflating

LEVELS = (0, 1, 6, 9)
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


def through(library: str, pieces: Sequence[bytes], most: int) -> bytes | None:
    """The bytes of a stream that is whole and ends where it ends; None of any other."""
    stream, found = zlib.decompressobj() if library == "zlib" else inflating(pieces[0][0]), []
    try:
        for piece in pieces:
            left = piece
            while out := stream.decompress(left, most):
                found.append(out)
                left = stream.unconsumed_tail
            if stream.unused_data:
                return None
    except ERRORS:
        return None
    return b"".join(found) if stream.eof else None


def packed(chance: random.Random) -> bytes:
    size = chance.choice((0, 1, 40, 3_000, 50_000))
    text = chance.choice((chance.randbytes(size), bytes(chance.choices(b"abc", k=size)), b"\0\1\2" * (size // 3)))
    packing = zlib.compressobj(chance.choice(LEVELS), zlib.DEFLATED, zlib.MAX_WBITS, 8, chance.choice(STRATEGIES))
    return packing.compress(text) + packing.flush()


def spoiled(chance: random.Random, stream: bytes) -> bytes:
    at = chance.randrange(1, len(stream))
    match chance.randrange(5):
        case 0:
            return stream[:at] + bytes([stream[at] ^ 1 << chance.randrange(8)]) + stream[at + 1 :]
        case 1:
            return stream[:at]
        case 2:
            return stream + chance.randbytes(3)
        case 3:
            return stream[:at] + stream[at + 1 :]
        case _:
            return stream


@pytest.mark.parametrize("seed", range(20))
def test_what_zlib_takes_is_taken_and_has_the_same_bytes(seed: int) -> None:
    """What zlib refuses may only have a code that is not complete, where nothing uses it."""
    chance = random.Random(seed)
    for _ in range(25):
        stream = spoiled(chance, packed(chance))
        step, most = chance.choice((7, 500, 65_536)), chance.choice((100, 65_536))
        pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
        found, expected = through("fastest", pieces, most), through("zlib", pieces, most)
        if expected is None and found is not None:
            assert zlib.adler32(found).to_bytes(4, "big") == stream[-4:]
        else:
            assert found == expected, stream.hex()


@pytest.mark.parametrize("first", [0x88, 0x79, 0x08])
def test_a_stream_that_begins_otherwise_is_inflated_by_zlib(first: int) -> None:
    stream = bytes([first, -(first << 8) % 31]) + zlib.compress(bytes(2_000))[2:]
    assert through("fastest", [stream], 65_536) == through("zlib", [stream], 65_536)


def test_checksums_are_those_of_zlib() -> None:
    for text in (b"", b"IEND", bytes(100_000)):
        assert crc32(text) == zlib.crc32(text)
        assert crc32(text, 123) == zlib.crc32(text, 123)


def test_without_the_extra_zlib_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    assert inflating_module._fastest() is zlib
