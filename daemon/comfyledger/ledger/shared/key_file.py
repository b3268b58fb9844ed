"""The wrapping keys that a box has, in a file beside its ledger: `fleet.keys`.

The file has slots of one length. A key that is destroyed is overwritten where it is, and its slot is free for another.
So a write never touches a key that is needed, and one that was cut short shows: its check does not fit. On a file
system that copies what it changes, or on a disk that spreads its writes, older bytes may live on: docs/fleet.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from comfyledger.durable import sync_file, sync_folder

NAME: Final = "fleet.keys"
KEY_BYTES: Final = 32
_SLOT: Final = "{:010d} {} {}\n"
_FREE: Final = _SLOT.format(0, "0" * 2 * KEY_BYTES, "0" * 16).encode()
_LENGTH: Final = len(_FREE)


class _Slot(NamedTuple):
    """`generation` is 0 in one that is free or broken."""

    offset: int
    generation: int
    key: bytes
    content: bytes


class KeyFile:
    """Every method raises OSError. One process writes the file: the one that holds the ledger's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[int, bytes]:
        """The keys by generation. Empty without a file."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return {slot.generation: slot.key for slot in _slots(content) if slot.generation}

    def add(self, generation: int, key: bytes) -> None:
        """Keep a key. It is on stable storage afterwards."""
        if generation not in self.read():
            self._change(lambda _: False, (generation, key))

    def destroy_below(self, generation: int) -> None:
        """Overwrite all older keys, and what is left of one that was written in part."""
        self._change(lambda other: other < generation)

    def begin_anew(self, generation: int, key: bytes) -> None:
        """Keep this key, and overwrite all others."""
        self._change(lambda _: True, (generation, key))

    def _change(self, is_destroyed: Callable[[int], bool], added: tuple[int, bytes] | None = None) -> None:
        is_new = not self.path.exists()
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            slots = list(_slots(os.pread(fd, os.fstat(fd).st_size, 0)))
            free = [slot.offset for slot in slots if slot.content == _FREE or is_destroyed(slot.generation)]
            for offset in free:
                os.pwrite(fd, _FREE, offset)
            if added is not None:
                os.pwrite(fd, _written(*added), free[0] if free else len(slots) * _LENGTH)
            sync_file(fd)
        finally:
            os.close(fd)
        if is_new:
            sync_folder(self.path.parent)


def _slots(content: bytes) -> Iterator[_Slot]:
    for offset in range(0, len(content), _LENGTH):
        yield _slot(offset, content[offset : offset + _LENGTH])


def _slot(offset: int, content: bytes) -> _Slot:
    number, _, rest = content.partition(b" ")
    with suppress(ValueError):
        generation, key = int(number), bytes.fromhex(rest[: 2 * KEY_BYTES].decode())
        if content == _written(generation, key):
            return _Slot(offset, generation, key, content)
    return _Slot(offset, 0, b"", content)


def _written(generation: int, key: bytes) -> bytes:
    return _SLOT.format(generation, key.hex(), _check(generation, key)).encode()


def _check(generation: int, key: bytes) -> str:
    """It tells a slot that is whole from one that is not, and nothing of the key: whoever reads it has the key."""
    return hashlib.sha256(b"%d %b" % (generation, key)).hexdigest()[:16]


# ---- a key that a person carries to another box


def carried(generation: int, key: bytes) -> str:
    """One line, for `fleet join --key-file`."""
    return f"{_CARRIED}:{generation}:{key.hex()}:{_check(generation, key)}"


def read_carried(text: str) -> tuple[int, bytes]:
    """Generation and key of such a line. Raises ValueError for another text, or one with a mistake in it."""
    name, generation, key, check = text.strip().split(":")
    found = int(generation), bytes.fromhex(key)
    if name != _CARRIED or len(found[1]) != KEY_BYTES or check != _check(*found):
        raise ValueError("This is no key of a fleet, or it was not copied whole.")
    return found


_CARRIED: Final = "comfyledger-fleet-key"
