"""Reads a listing of the account: files as the plugin API describes them, and the highest number of a series. PURE.

An answer that is no listing is an error, never an empty listing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from comfyledger.plugin_api import Held, LaneFault, Series, StoreTrouble
from comfyledger.plugin_api import Numbers as Found
from comfyledger_cloudinary.answers import context_of, md5_of, text_of
from comfyledger_cloudinary.kinds import own_name


class Numbers:
    """The numbers of a series, gathered page by page."""

    def __init__(self, series: Series) -> None:
        name = f"{_folded(prefix_of(series))}([0-9]{{1,15}}){_folded(series.suffix)}"
        self._number = re.compile(rf"{name}(?:\.[^/]*)?").fullmatch
        self._series = series
        self._found = Found()

    def add(self, public_ids: Iterable[str], placeholders: Iterable[str] = ()) -> None:
        """Add a page. Placeholders of deleted files hold their numbers but raise no doubt: an import skips them."""
        for public_id in public_ids:
            number = self._number_of(public_id)
            if number is not None:
                self._found.add(number, public_id)
        for public_id in placeholders:
            number = self._number_of(public_id)
            if number is not None:
                self._found.add_place(number)

    def _number_of(self, public_id: str) -> int | None:
        found = self._number(unicodedata.normalize("NFC", public_id).casefold())
        return int(found[1]) if found else None

    def highest(self, store: str = "") -> int:
        """Raises Doubted, naming the store."""
        return self._found.highest(store, self._series)

    def doubted(self) -> tuple[str, int]:
        """The file of the lowest number that is not believed, and the number below it; empty if all are."""
        doubt = self._found.doubt
        return (doubt[0], doubt[2]) if doubt is not None else ("", 0)


def checked(listing: dict[str, Any]) -> dict[str, Any]:
    """The same listing. Raises StoreTrouble if it is none, or if its cursor is invalid."""
    resources, cursor = listing.get("resources"), listing.get("next_cursor")
    is_one = isinstance(resources, list) and isinstance(cursor, str | None)
    if not is_one or not all(isinstance(one, dict) and text_of(one, "public_id") for one in resources or ()):
        text = f"The account's answer is not a list of its files (it has {', '.join(sorted(listing))[:200]})."
        raise StoreTrouble(LaneFault("unknown", text))
    return listing


def prefix_of(series: Series) -> str:
    """How the public ids of a series begin."""
    return f"{series.folder}/{series.stem}" if series.folder else series.stem


def public_ids_of(listing: Mapping[str, Any], *, placeholders: bool = False) -> list[str]:
    """The public ids of the files, or of the placeholders of deleted files."""
    resources = _resources(listing)
    return [text_of(one, "public_id") for one in resources if bool(one.get("placeholder")) is placeholders]


def held_of(listing: Mapping[str, Any]) -> tuple[Held, ...]:
    """The files of a listing, without placeholders of deleted files (backups)."""
    found = (held(resource) for resource in _resources(listing))
    return tuple(one for one in found if one is not None)


def held(resource: Mapping[str, Any]) -> Held | None:
    """One file. `md5` is that of the stored bytes, where the answer has it; `sha256` and `image_id` are what was said
    about the file when it was stored. The extension of a raw file is taken out of its name."""
    name, size = text_of(resource, "public_id"), resource.get("bytes")
    if not name or resource.get("placeholder"):
        return None
    said = context_of(resource)
    public_id, extension = own_name(text_of(resource, "resource_type"), name, text_of(resource, "format"))
    return Held(
        public_id=public_id,
        extension=extension,
        size_bytes=size if isinstance(size, int) else 0,
        md5=md5_of(resource),
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
