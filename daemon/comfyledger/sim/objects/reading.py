"""Requests that change nothing: an object, its metadata, a listing. An answer may be an old one, if tests want that."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from comfyledger.sim.objects.answers import Refused, listing, stored_headers
from comfyledger.sim.objects.contents import Contents, Version
from comfyledger.sim.objects.faults import Visit

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class Reading:
    """Answers from the contents of the stand-in."""

    def __init__(self, contents: Contents, dialect: str, page_max: int) -> None:
        self._contents = contents
        self._dialect = dialect
        self._page_max = page_max
        self._seen: dict[str, int] | None = None
        self._listed_at: int | None = None

    @property
    def caches(self) -> bool:
        """Whether the first answer about each key is given again and again, as by a proxy that caches."""
        return self._seen is not None

    @caches.setter
    def caches(self, value: bool) -> None:
        self._seen = {} if value else None

    @property
    def lists_late(self) -> bool:
        """Whether listings are as they were when this was switched on."""
        return self._listed_at is not None

    @lists_late.setter
    def lists_late(self, value: bool) -> None:
        self._listed_at = self._contents.now() if value else None

    def read(self, visit: Visit) -> web.Response:
        """An object or a part of it. aiohttp sends no body to HEAD. Raises Refused."""
        entry = visit.entry
        at = None if self._seen is None else self._seen.setdefault(entry.key, self._contents.now())
        version = self._contents.find(entry.bucket, entry.key, at)
        if version is None:
            raise Refused("NoSuchKey")
        if visit.header("If-Match") not in {"", "*", version.etag}:
            raise Refused("PreconditionFailed")
        headers = stored_headers(version, self._dialect)
        first, last = _range_of(visit.header("Range"), version.size)
        is_part = bool(visit.header("Range"))
        if is_part:
            headers["Content-Range"] = f"bytes {first}-{last}/{version.size}"
        return web.Response(status=206 if is_part else 200, headers=headers, body=self._bytes(version, first, last))

    def _bytes(self, version: Version, first: int, last: int) -> bytes:
        with (self._contents.files / version.file).open("rb") as file:
            file.seek(first)
            return file.read(last - first + 1)

    def list(self, visit: Visit) -> web.Response:
        """A page of the objects of a bucket, and of the folders below a prefix if a delimiter is given."""
        asked = visit.entry.query
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = _after(asked)
        most = min(int(asked.get("max-keys", self._page_max)), self._page_max)
        found: list[Version] = []
        folders: list[str] = []
        last = after
        for version in self._contents.listed(visit.entry.bucket, prefix, after, self._listed_at):
            folder = _folder_of(version.key, prefix, delimiter)
            if folder and (folder in folders or after.startswith(folder)):
                last = version.key
                continue
            if len(found) + len(folders) == most:
                return listing(visit.entry.bucket, found, folders, asked, last)
            last = version.key
            if folder:
                folders.append(folder)
            else:
                found.append(version)
        return listing(visit.entry.bucket, found, folders, asked, "")


def _range_of(header: str, size: int) -> tuple[int, int]:
    """The first and the last byte that are asked for. Raises Refused for a range outside of the object."""
    if not header:
        return 0, size - 1
    asked = _RANGE.fullmatch(header)
    if asked is None or asked[1] == asked[2] == "":
        raise Refused("InvalidArgument")
    if not asked[1]:
        return max(0, size - int(asked[2])), size - 1
    first = int(asked[1])
    if first >= size:
        raise Refused("InvalidRange")
    return first, min(int(asked[2] or size), size - 1)


def _after(asked: dict[str, str]) -> str:
    try:
        return bytes.fromhex(asked.get("continuation-token", "")).decode() or asked.get("start-after", "")
    except ValueError as error:
        raise Refused("InvalidArgument", "The continuation token provided is incorrect") from error


def _folder_of(key: str, prefix: str, delimiter: str) -> str:
    """The folder below the prefix that a key is in, with the delimiter; empty if it is in none."""
    folder, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
    return prefix + folder + found if found else ""
