"""Reading JSON of another server: no type, size or spelling is trusted.

A field that is missing or of another type reads as empty, each text is cut to a bound, each list to a count.
`messages` and `answers` build on these; nothing here is specific to ComfyUI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

ID_CHARS_MAX: Final = 200
NAME_CHARS_MAX: Final = 1_024
TEXT_CHARS_MAX: Final = 2_000
LIST_MAX: Final = 4_096
LEVELS_MAX: Final = 100
DIGITS_MAX: Final = 400
"""Of an integer that is read as one. No float has more, and Python refuses to read ten times as many."""

_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')


class BadFrame(ValueError):
    """A frame or an answer that is no JSON object."""


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and an ellipsis, in at most `limit` characters."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"[:limit]


def read_ids(values: object) -> tuple[str, ...]:
    """The texts in a list, at most LIST_MAX of them, of at most ID_CHARS_MAX characters each."""
    known = values if isinstance(values, list) else []
    return tuple(_storable(value, ID_CHARS_MAX) for value in known[:LIST_MAX] if isinstance(value, str))


def read_id(fields: Mapping[str, Any], key: str) -> str:
    return read_text(fields, key, ID_CHARS_MAX)


def read_text(fields: Mapping[str, Any], key: str, limit: int) -> str:
    """The text under `key` in at most `limit` characters; empty when there is none."""
    value = fields.get(key)
    return _storable(value, limit) if isinstance(value, str) else ""


def read_number(fields: Mapping[str, Any], key: str) -> float | None:
    """The number under `key`; None when there is none, or none that could count anything."""
    value = fields.get(key)
    # The comparison holds for finite numbers only: NaN and the infinities are no counts.
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e15
    return value if is_count else None


def read_object(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`; empty when there is none."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def read_objects(values: object) -> list[dict[str, Any]]:
    """The objects in a list, at most LIST_MAX of them."""
    known = values if isinstance(values, list) else []
    return [value for value in known[:LIST_MAX] if isinstance(value, dict)]


def read_span(values: object, key: str) -> float:
    """How far the last number under `key` in a list of objects is above the first; 0 when it is not."""
    numbers = [number for fields in read_objects(values) if (number := read_number(fields, key)) is not None]
    return max(0.0, numbers[-1] - numbers[0]) if numbers else 0.0


def as_text(body: str | bytes) -> str:
    """The beginning of an answer that is not JSON, for a person."""
    return body if isinstance(body, str) else body[: 4 * TEXT_CHARS_MAX].decode("utf-8", "replace")


def json_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a text, as ComfyUI may write it: the one way in for all that it says.

    NaN and the infinities, numbers of any size, a byte order mark, bytes that are not UTF-8 and half surrogate pairs
    are read; of a key that comes twice the last value counts, and what is nested too deeply is left out. Raises
    BadFrame when there is no object.
    """
    try:
        value = _json(text)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadFrame(f"not an object but {type(value).__name__}")
    return value


def _storable(text: str, limit: int) -> str:
    # JSON can spell half a surrogate pair, which nothing that writes UTF-8 takes.
    return cut(text, limit).encode("utf-8", "replace").decode()


def _json(text: str | bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        whole = text if isinstance(text, str) else text.decode("utf-8", "replace")
    try:
        return json.loads(whole.removeprefix("\ufeff"), parse_int=_integer)
    except RecursionError:
        return json.loads(_shallow(whole.removeprefix("\ufeff")), parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _shallow(text: str) -> str:
    """The text with null for everything deeper than LEVELS_MAX: one strange graph must not hide the others."""
    pieces, level, start = [], 0, 0
    for token in _BRACKETS.finditer(text):
        if token[0] in "[{":
            level += 1
            if level == LEVELS_MAX + 1:
                pieces.append(text[start : token.start()] + "null")
        elif token[0] in "]}":
            if level == LEVELS_MAX + 1:
                start = token.end()
            level -= 1
    return "".join(pieces) + (text[start:] if level <= LEVELS_MAX else "")
