"""What an import has seen of a store so far: added up page by page, and kept in a file of the state folder.

The daemon remembers nothing between pages, so that an import that is interrupted or waits costs it nothing. The file is
replaced as a whole after every page, and the next import continues at the next page.
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
"""After a day the store is read again: other programs may have added files to pages that were read already."""


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
        """The lowest outlier, and the next lower number. None if there is no outlier."""
        return outlier_in({*self.extremes, self.second, self.highest} - {0})


class Tally(msgspec.Struct):
    """Everything that was seen of one store, below one folder, in one epoch of the ledger."""

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
        """Whether `other`, which begins now, can continue this one, which was read from a file."""
        same = (self.identity, self.epoch, self.prefix) == (other.identity, other.epoch, other.prefix)
        return same and 0 <= other.begun_at_ms - self.begun_at_ms < KEPT_MS


def load(path: Path) -> Tally | None:
    """The contents of the file; None if it cannot be read."""
    with contextlib.suppress(OSError, UnicodeError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Tally)
    return None


def save(path: Path, tally: Tally) -> None:
    """Raises Refused(config_invalid) if the file cannot be written."""
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
