"""What a listing of the account means: files as the plugin API says them, and the highest number of a series. PURE.

A maximum that stands far above the number below it (`..._image_20251122` above `..._image_57`) is more likely a date
than a number. Using it would start a series at twenty million for ever; ignoring it might give a number twice. It is
neither: the series stays unknown and a person decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from comfyledger.plugin_api import Held, Series
from comfyledger_cloudinary_answers import context_of, etag_of, text_of

DOUBTED_ABOVE: Final = 10_000
DOUBTED_LEAP: Final = 100
"""As `comfyledger import` has them: what is doubted here must be doubted there, or the hint would lead nowhere."""


class Numbers:
    """The numbers of a series, gathered page by page, each with a file that carries it. Flat: integers only."""

    def __init__(self, series: Series) -> None:
        name = f"{_folded(prefix_of(series))}([0-9]{{1,15}}){_folded(series.suffix)}"
        self._number = re.compile(rf"{name}(?:\.[^/]*)?").fullmatch
        self._found: dict[int, str] = {}

    def look_at(self, public_ids: Iterable[str]) -> None:
        for public_id in public_ids:
            found = self._number(unicodedata.normalize("NFC", public_id).casefold())
            if found:
                self._found[int(found[1])] = public_id

    def highest(self) -> int:
        return max(self._found, default=0)

    def doubted(self) -> tuple[str, int]:
        """The file of the lowest number that is not believed, and the number below it; empty if all are.

        Not believed is a number above 10,000 that is over 100 times the number below it, and whatever lies above: two
        dates are no better than one.
        """
        below = 0
        for number in sorted(self._found):
            if number > DOUBTED_ABOVE and number > DOUBTED_LEAP * max(below, 1):
                return self._found[number], below
            below = number
        return "", below


def prefix_of(series: Series) -> str:
    """How the public ids of a series begin."""
    return f"{series.folder}/{series.stem}" if series.folder else series.stem


def public_ids_of(listing: Mapping[str, Any]) -> list[str]:
    return [text_of(resource, "public_id") for resource in _resources(listing)]


def held_of(listing: Mapping[str, Any]) -> tuple[Held, ...]:
    """The files of a listing. What was deleted and left a placeholder (a backup) is not held."""
    found = (held(resource) for resource in _resources(listing))
    return tuple(one for one in found if one is not None)


def held(resource: Mapping[str, Any]) -> Held | None:
    """One file. `md5` is that of the stored bytes, where the answer has it; `sha256` and `image_id` are what was said
    about the file when it was stored."""
    public_id, size = text_of(resource, "public_id"), resource.get("bytes")
    if not public_id or resource.get("placeholder"):
        return None
    said = context_of(resource)
    return Held(
        public_id=public_id,
        extension=text_of(resource, "format"),
        size_bytes=size if isinstance(size, int) else 0,
        md5=etag_of(resource),
        sha256=said.get("sha256", ""),
        image_id=said.get("image", ""),
        created_at_ms=_ms(text_of(resource, "created_at")),
    )


def _resources(listing: Mapping[str, Any]) -> list[dict[str, Any]]:
    resources = listing.get("resources")
    return [one for one in resources if isinstance(one, dict)] if isinstance(resources, list) else []


def _ms(moment: str) -> int:
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        return 0
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)


def _folded(text: str) -> str:
    return re.escape(unicodedata.normalize("NFC", text).casefold())
