"""The sounds of the stand-in: FLAC with a tone of its own for each seed, MP3 and Opus that are silent.

Blocks of one value each keep a FLAC small, however long it is. MP3 and Opus hold their mark where players do not look.
All three carry the metadata where FFmpeg, with which ComfyUI saves them, puts it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any, Final

import msgspec

_BLOCK: Final = 4_096
_OPUS_SAMPLES: Final = 960
_MP3_SAMPLES: Final = 1_152
_OPUS_SILENCE: Final = b"\xf8\xff\xfe"
_VENDOR: Final = b"Lavf62.12.102"
_LOUDEST: Final = 1_500


class Sound(msgspec.Struct, frozen=True):
    """One sound of a batch: silence, or a tone when it has a seed text. `rate`: samples a second."""

    seconds: float
    rate: int
    channels: int
    seed: str = ""

    @property
    def mark(self) -> str:
        """What tells it from other sounds."""
        return f"sound {self.seconds:g} s {self.rate} Hz {self.channels} {self.seed}"


def flac(sound: Sound, metadata: Mapping[str, Any]) -> bytes:
    """A FLAC of 16 bits. (RFC 9639)"""
    samples = round(sound.seconds * sound.rate)
    words = sound.rate << 44 | (sound.channels - 1) << 41 | 15 << 36 | samples
    info = struct.pack(">2H", _BLOCK, _BLOCK) + bytes(6) + words.to_bytes(8, "big") + bytes(16)
    comments = _comments(metadata)
    tones = Random(hashlib.sha256(sound.seed.encode()).digest())  # noqa: S311 - a tone
    frames = []
    for number, begin in enumerate(range(0, samples, _BLOCK)):
        values = [tones.randint(-_LOUDEST, _LOUDEST) if sound.seed else 0 for _ in range(sound.channels)]
        frames.append(_flac_frame(sound.rate, number, min(_BLOCK, samples - begin), values))
    blocks = b"\x00\x00\x00\x22" + info + b"\x84" + len(comments).to_bytes(3, "big") + comments
    return b"fLaC" + blocks + b"".join(frames)


def mp3(sound: Sound, metadata: Mapping[str, Any]) -> bytes:
    """Silent frames of 32 kbit/s and 44.1 kHz; the mark stands in the spare bytes of the first."""
    texts = b"".join(
        b"TXXX" + _seven_bits(len(body)) + bytes(2) + body
        for body in (b"\x03" + name.encode() + b"\0" + json.dumps(value).encode() for name, value in metadata.items())
    )
    tags = b"ID3\x04\0\0" + _seven_bits(len(texts)) + texts if texts else b""
    silent = b"\xff\xfb\x10\xc0" + bytes(100)
    first = silent[:24] + hashlib.sha256(sound.mark.encode()).digest() + silent[56:]
    return tags + first + silent * int(sound.seconds * 44_100 / _MP3_SAMPLES)


def opus(sound: Sound, metadata: Mapping[str, Any]) -> bytes:
    """Silent packets of 20 ms in Ogg; the number of the stream comes from the mark. (RFC 7845)"""
    serial = hashlib.sha256(sound.mark.encode()).digest()[:4]
    head = b"OpusHead\x01" + struct.pack("<BHIhB", sound.channels, 312, sound.rate, 0, 0)
    packets = max(1, round(sound.seconds * 48_000 / _OPUS_SAMPLES))
    pages = [_page(serial, 0, 2, 0, _lacing(head), head)]
    pages += _pages_of_texts(serial, b"OpusTags" + _comments(metadata))
    for begin in range(0, packets, 50):
        end = min(begin + 50, packets)
        flags, lacing = 4 if end == packets else 0, _lacing(_OPUS_SILENCE) * (end - begin)
        pages.append(_page(serial, len(pages), flags, end * _OPUS_SAMPLES, lacing, _OPUS_SILENCE * (end - begin)))
    return b"".join(pages)


def _comments(metadata: Mapping[str, Any]) -> bytes:
    """A vendor and comments, as FLAC and Opus have them. (Vorbis I, 5)"""
    texts = [f"{name}={json.dumps(value)}".encode() for name, value in metadata.items()]
    listed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack("<I", len(_VENDOR)) + _VENDOR + struct.pack("<I", len(texts)) + listed


def _flac_frame(rate: int, number: int, samples: int, values: list[int]) -> bytes:
    """One value for each channel, `samples` times. Browsers play no frame that leaves its rate to the stream."""
    in_head = rate < 65_536
    head = bytes((0xFF, 0xF8, 0x7D if in_head else 0x70, (len(values) - 1) << 4 | 0x08)) + _coded(number)
    head += struct.pack(">H", samples - 1) + (struct.pack(">H", rate) if in_head else b"")
    frame = head + bytes((_crc(head, 8, 0x07),)) + b"".join(b"\0" + struct.pack(">h", value) for value in values)
    return frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")


def _coded(number: int) -> bytes:
    """A number as UTF-8 codes it; frames are counted so."""
    return chr(number).encode("utf-8", "surrogatepass")


def _seven_bits(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _lacing(packet: bytes) -> bytes:
    """The lengths of a packet's pieces; the last is shorter than 255 bytes. (RFC 3533, 5)"""
    return bytes([255] * (len(packet) // 255) + [len(packet) % 255])


def _pages_of_texts(serial: bytes, packet: bytes) -> list[bytes]:
    """The second packet of a stream, on as many pages as it needs."""
    lacing = _lacing(packet)
    pages: list[bytes] = []
    for begin in range(0, len(lacing), 255):
        piece = packet[begin * 255 : (begin + 255) * 255]
        position = 0 if begin + 255 >= len(lacing) else -1
        flags = 1 if begin else 0
        pages.append(_page(serial, 1 + len(pages), flags, position, lacing[begin : begin + 255], piece))
    return pages


def _page(serial: bytes, sequence: int, flags: int, position: int, lacing: bytes, content: bytes) -> bytes:
    before = b"OggS\0" + bytes((flags,)) + struct.pack("<q", position) + serial + struct.pack("<I", sequence)
    after = bytes((len(lacing),)) + lacing + content
    return before + _crc(before + bytes(4) + after, 32, 0x04C11DB7).to_bytes(4, "little") + after


@cache
def _table(bits: int, polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 & 1 else 0)
        table.append(value & (1 << bits) - 1)
    return tuple(table)


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    """A checksum whose highest bit comes first and that begins with 0."""
    table, value, mask = _table(bits, polynomial), 0, (1 << bits) - 1
    for byte in content:
        value = (value << 8 ^ table[value >> bits - 8 ^ byte]) & mask
    return value
