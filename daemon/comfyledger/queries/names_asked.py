"""Finds images by what people call them: names with an extension or without, and numbers of a series."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from comfyledger.core.media import EXTENSION, KINDS, extension_of
from comfyledger.core.naming.names import NUMBER_DIGITS_MAX
from comfyledger.core.naming.slugs import fold
from comfyledger.ledger.ports import Reader

Place = tuple[str, int]
"""Batch and index of an image."""
_EXTENSION: Final = re.compile(rf"\.(?![0-9]+$){EXTENSION}$", re.IGNORECASE)
_NUMBERED: Final = re.compile(rf"(.*?)([0-9]{{1,{NUMBER_DIGITS_MAX}}})([^0-9]*)")
"""A leaf: the last run of digits is its number (see `core.naming`)."""


class Numbered(NamedTuple):
    """The series and the number that a name contains. `keys`: of the series that it may mean, none if there is none."""

    keys: list[str]
    number: int


async def place_named(reader: Reader, name: str) -> Place | None:
    """The image that was given a name, with its folder."""
    key = fold(name)
    for one in dict.fromkeys((key, _bare(key))):
        place = await reader.name_place(one)
        if place is not None:
            return place
    return None


async def numbered(reader: Reader, name: str) -> Numbered | None:
    """Which number of which series a name means; None if it contains no number."""
    key = fold(name)
    key = _bare(key) if extension_of(key) in KINDS else key  # the template may end in a dot and a word of its own
    folder, _, leaf = key.rpartition("/")
    parts = _NUMBERED.fullmatch(leaf)
    if parts is None or not parts[1]:
        return None
    end = f"/{parts[1]}" + (f"#{parts[3]}" if parts[3] else "")
    keys = [folder + end] if folder else [row.key for row in await reader.series_ending(end)]
    return Numbered(keys, int(parts[2]))


async def places_in_series(reader: Reader, keys: Iterable[str], number: int) -> list[Place]:
    """The images with a number in some series."""
    found = []
    for key in keys:
        prefix, _, suffix = key.partition("#")
        place = await reader.name_place(f"{prefix}{number}{suffix}")
        found += [place] if place is not None else []
    return found


def _bare(key: str) -> str:
    return _EXTENSION.sub("", key)
