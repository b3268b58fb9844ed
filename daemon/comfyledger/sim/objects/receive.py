"""How the stand-in for object stores receives the body of a request: streamed to disk, hashed and compared with what
the client says about it.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from comfyledger.sim.objects.answers import Refused
from comfyledger.sim.objects.faults import Visit

_UNSIGNED: Final = "UNSIGNED-PAYLOAD"


class Incoming:
    """A file that is being written, with its size and its digests."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._file = path.open("wb")

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._md5.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        self.size += len(piece)
        self._sha256.update(piece)
        self._md5.update(piece)
        self._file.write(piece)

    def content(self) -> bytes:
        """All bytes so far."""
        self._file.flush()
        return self.path.read_bytes()

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def drop(self) -> None:
        """Delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


async def receive(visit: Visit, path: Path) -> Incoming:
    """Read a whole body. Raises Refused if it is not what was announced, Cut or Withheld if a fault strikes.

    Then no file is left.
    """
    incoming = Incoming(path)
    try:
        await _read(visit, incoming)
        _compare(visit, incoming)
        visit.withhold()
        if visit.has("alter"):
            incoming.write(b"altered")
        incoming.close()
    except BaseException:
        incoming.drop()
        raise
    return incoming


async def _read(visit: Visit, incoming: Incoming) -> None:
    visit.cut_if("reset_before_body")
    half = (visit.request.content_length or 0) // 2
    async for piece in visit.request.content.iter_any():
        incoming.write(piece)
        visit.entry.received_bytes = incoming.size
        if incoming.size >= half:
            visit.cut_if("reset_mid_body")
    visit.entry.sha256 = incoming.sha256


def _compare(visit: Visit, incoming: Incoming) -> None:
    announced = visit.header("x-amz-content-sha256")
    if announced.startswith("STREAMING-"):
        raise Refused("NotImplemented", "The stand-in takes no body in signed pieces")
    if announced not in {"", _UNSIGNED, incoming.sha256}:
        raise Refused("XAmzContentSHA256Mismatch")
    for name, digest in (("x-amz-checksum-sha256", incoming.sha256), ("Content-MD5", incoming.md5)):
        if visit.header(name) not in {"", base64.b64encode(bytes.fromhex(digest)).decode()}:
            raise Refused("BadDigest")
    sum_said = visit.header("x-amz-checksum-crc64nvme")
    if sum_said and sum_said != base64.b64encode(crc64nvme(incoming.content()).to_bytes(8, "big")).decode():
        raise Refused("BadDigest")


def crc64nvme(content: bytes) -> int:
    """The checksum that S3 makes by itself since 2024: the CRC of NVM Express, of 64 bits, reflected."""
    found = _ONES
    for byte in content:
        found = _CRC64[(found ^ byte) & 255] ^ (found >> 8)
    return found ^ _ONES


def _crc64_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(one >> 1) ^ (_POLYNOMIAL if one & 1 else 0) for one in table]
    return table


_ONES: Final = 0xFFFF_FFFF_FFFF_FFFF
_POLYNOMIAL: Final = 0x9A6C_9329_AC4B_C9B5
_CRC64: Final = _crc64_table()
