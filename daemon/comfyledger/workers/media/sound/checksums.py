"""Checksums whose highest bit comes first, as FLAC and Ogg have them. That of zlib has its bits in the other order."""

from __future__ import annotations

from typing import Final


def crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ 0x07 if crc & 0x80 else crc << 1
        crc &= 0xFF
    return crc


def _crc_table(bits: int, polynomial: int) -> tuple[int, ...]:
    """The remainders of all bytes, for a checksum of so many bits whose highest bit comes first."""
    table, top, mask = [], 1 << (bits - 1), (1 << bits) - 1
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = crc << 1 ^ polynomial if crc & top else crc << 1
        table.append(crc & mask)
    return tuple(table)


_TABLE16: Final = _crc_table(16, 0x8005)


def crc16(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc = (crc << 8 ^ _TABLE16[crc >> 8 ^ byte]) & 0xFFFF
    return crc


_TABLE32: Final = _crc_table(32, 0x04C11DB7)


def crc32(content: bytes) -> int:
    """The checksum of a page: not that of zlib, whose bits are in the other order."""
    crc = 0
    for byte in content:
        crc = (crc << 8 ^ _TABLE32[crc >> 24 ^ byte]) & 0xFFFFFFFF
    return crc
