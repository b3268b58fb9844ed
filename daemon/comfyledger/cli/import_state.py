"""What an import has seen of a store so far: added up page by page, and kept in a file of the state folder.

The daemon remembers nothing between pages, so that an import that was interrupted, or has to wait, costs it nothing.
The file is written anew after every page, whole or not at all: whoever comes after goes on at the next page.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.core.naming.names import extremes, outlier_in
from comfyledger.core.naming.slugs import fold
from comfyledger.errors import Refused

KEPT_MS: Final = 86_400_000
"""After a day the store is read anew: others may have stored files where this one has been already."""


class Seen(msgspec.Struct):
    """One series over all pages so far; its fields are those of `wire.SeriesHeld`."""

    folder: str
    stem: str
    suffix: str
    highest: int
    second: int
    images: int
    extremes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.stem}…{self.suffix}"

    @property
    def doubt(self) -> tuple[int, int] | None:
        """The lowest number that is not believed, and the one below it."""
        return outlier_in({*self.extremes, self.second, self.highest} - {0})


class Tally(msgspec.Struct):
    """All that was seen of one place, below one folder, under one epoch of the ledger."""

    identity: str
    epoch: str
    prefix: str
    begun_at_ms: int
    cursor: str = ""
    complete: bool = False
    files: int = 0
    others: int = 0
    series: dict[str, Seen] = {}

    def add(self, page: wire.Survey) -> None:
        self.files += page.files
        self.others += page.others
        for held in page.found:
            key = fold(f"{held.folder}/{held.stem}#{held.suffix}")
            seen = self.series.setdefault(key, Seen(held.folder, held.stem, held.suffix, 0, 0, 0))
            two = {seen.second, seen.highest, held.second, held.highest} - {0}
            seen.extremes = extremes({*seen.extremes, *held.extremes, *two})
            seen.second, seen.highest = sorted({-1, 0, *two})[-2:]
            seen.images += held.images
        self.cursor = page.cursor
        self.complete = not page.cursor

    def goes_on(self, other: Tally) -> bool:
        """Whether this one, found in a file, is the beginning of the other, which is about to begin."""
        same = (self.identity, self.epoch, self.prefix) == (other.identity, other.epoch, other.prefix)
        return same and 0 <= other.begun_at_ms - self.begun_at_ms < KEPT_MS


def load(path: Path) -> Tally | None:
    """What is in the file; None if there is none that can be read."""
    with contextlib.suppress(OSError, UnicodeError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Tally)
    return None


def save(path: Path, tally: Tally) -> None:
    """Raises Refused(config_invalid) where nothing can be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(tally))
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        hint = "Name a folder that can be written with --state-dir."
        raise Refused("config_invalid", f"{path} cannot be written: {error.strerror}.", hint=hint) from error
