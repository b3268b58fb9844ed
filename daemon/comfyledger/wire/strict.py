"""What JSON readers let pass or disagree on, and this wire does not: NaN, infinities, a key that stands twice.

Also the `id` of a frame that cannot be read whole, so that a client learns which of its requests was wrong. Nothing
here raises for any input but Refused.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from comfyledger.errors import Refused

ID_CHARS_MAX: Final = 128
ID_DIGITS_MAX: Final = 300
PATH_CHARS_MAX: Final = 200
HEAD_CHARS: Final = 65_536
"""Of a frame above the limit only so much is looked at, and its last few characters."""
TAIL_CHARS: Final = 512
PARTS_MAX: Final = 200_000
"""Lists and objects in a workflow. Decoded, even an empty one takes 60 bytes. The largest known has 12,000."""
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+')
_LAST: Final = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*\}\s*\Z')
_NOT_FINITE_HINT: Final = "JSON has no NaN and no infinity: give a number, or omit the field."


# ---- which request it was


def id_in(frame: str | bytes, *, whole: bool = True) -> str | int | None:
    """The `id` of a frame, however wrong the rest is; None if there is none or it cannot be told.

    Not `whole`: the frame is above the limit, and only its beginning and its end are looked at.
    """
    text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
    text = text.lstrip("\ufeff \t\r\n")
    if not whole:
        last = _LAST.search(text[-TAIL_CHARS:])
        return _taken(_scanned(text[:HEAD_CHARS]) or (_literal(last[1]) if last else None))
    try:
        value, _ = _reader.raw_decode(text)
    except (ValueError, RecursionError):
        return _taken(_scanned(text))
    return _taken(value.get("id")) if isinstance(value, dict) else None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= ID_DIGITS_MAX else math.inf


_reader: Final = json.JSONDecoder(parse_int=_integer)


def _taken(found: Any) -> str | int | None:
    """An id that an answer can carry."""
    if isinstance(found, str):
        is_text = not any("\ud800" <= char <= "\udfff" for char in found)
        return found if len(found) <= ID_CHARS_MAX and is_text else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _scanned(text: str) -> Any:
    """The value of the outermost object's last `id` as far as the text goes."""
    if not text.startswith("{"):
        return None
    level, before, key, found = 0, "", None, None
    for match in _TOKENS.finditer(text):
        part = match[0]
        if part in {"{", "["}:
            level += 1
        elif part in {"}", "]"}:
            level -= 1
            if level == 0:
                break
        elif level == 1 and before in {"{", ","}:
            key = _literal(part)
        elif level == 1 and before == ":" and key == "id":
            # What ends with the text may have been cut.
            found = _literal(part) if match.end() < len(text) else None
        before = part
    return found


def _literal(token: str) -> Any:
    try:
        return json.loads(token, parse_int=_integer)
    except ValueError:
        return None


# ---- what is too much


def has_many_parts(text: bytes) -> bool:
    """Whether JSON may have more than `PARTS_MAX` lists and objects. It is told before anything is decoded."""
    return text.count(b"[") + text.count(b"{") > PARTS_MAX


# ---- what is not JSON


def finite(graph: Any, path: str) -> Any:
    """A graph without NaN and infinities where ComfyUI does not look: beside class_type and inputs of a node, where its
    own exports have them, and in what stands beside the nodes or beside the graph in a wrapper.

    Raises Refused(workflow_invalid), with the path, for all others.
    """
    kept, _ = _kept(graph)
    place = next(_not_finite(kept, path), None)
    if place is not None:
        path = _shown(place)
        raise Refused("workflow_invalid", f"The number at {path} is NaN or infinite.", hint=_NOT_FINITE_HINT, path=path)
    return kept


def _kept(value: Any) -> tuple[Any, bool]:
    """The value without what nobody looks at, and whether there is a node in it."""
    if not isinstance(value, Mapping):
        return value, False
    if isinstance(value.get("class_type"), str):
        looked_at = {"class_type", "inputs"}
        gone = {
            key for key, one in value.items() if key not in looked_at and next(_not_finite(one, ""), None) is not None
        }
        return {key: one for key, one in value.items() if key not in gone}, True
    parts = {key: _kept(one) for key, one in value.items()}
    if not any(has_node for _, has_node in parts.values()):
        return value, False
    return {key: one if has_node else _nulled(one) for key, (one, has_node) in parts.items()}, True


def _nulled(value: Any) -> Any:
    """The value with null for each number that is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _nulled(one) for key, one in value.items()}
    return [_nulled(one) for one in value] if isinstance(value, list | tuple) else value


def _not_finite(value: Any, path: str) -> Iterator[str]:
    """The places of numbers that are none."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield path
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _not_finite(one, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _not_finite(one, f"{path}[{index}]")


def mended(frame: str) -> bytes | None:
    """The frame as JSON, where nothing is wrong with it but a byte order mark, and numbers in its workflow that ComfyUI
    does not look at.

    None if something else is wrong. Raises Refused for NaN or an infinity at any other place.
    """
    try:
        value = json.loads(frame.removeprefix("\ufeff"))
        return _mended(value) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def is_json(text: bytes) -> bool:
    """Whether it is one JSON value, with NaN and infinities as Python writes them."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _mended(value: dict[str, Any]) -> bytes:
    data = value.get("data")
    if isinstance(data, dict) and isinstance(data.get("workflow"), dict):
        data["workflow"] = finite(data["workflow"], "$.data.workflow")
    place = next(_not_finite(value, "$"), None)
    if place is not None:
        raise Refused("not_json", f"The number at {_shown(place)} is NaN or infinite, which JSON does not know.")
    return json.dumps(value).encode()


def _shown(place: str) -> str:
    """A path as an answer can carry it: cut, and half a surrogate pair in a key escaped."""
    return place[:PATH_CHARS_MAX].encode("utf-8", "backslashreplace").decode()


# ---- keys that stand twice


class _Doubled(dict[str, Any]):
    """An object in which a key stands twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, counts = _Doubled(found), Counter(key for key, _ in pairs)
    doubled.key = next(key for key, count in counts.items() if count > 1)
    return doubled


_strict: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


def check_once(text: str, root: str = "$") -> None:
    """Raises Refused(invalid_field) for JSON in which a key stands twice: readers disagree which of the two counts.

    `root`: the path of what `text` holds.
    """
    if _has_each_key_once(text):
        return
    try:
        place = next(_doubled(_strict.decode(text), root), None)
    except (ValueError, RecursionError):
        return  # whoever reads it says so
    if place is not None:
        path = _shown(place)
        message = f"The key at {path} occurs twice in its object."
        raise Refused("invalid_field", message, hint="Send each key once.", path=path)


def _has_each_key_once(text: str) -> bool:
    """Whether that is certain at a glance: the text has as many colons as the objects in it have keys, and a colon
    stands behind each key. False if strings have colons, or it cannot be read.
    """
    try:
        return text.count(":") == _keys_in(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def _keys_in(value: Any) -> int:
    """How many keys the objects of a value have."""
    if isinstance(value, dict):
        return len(value) + sum(_keys_in(one) for one in value.values() if isinstance(one, dict | list))
    return sum(_keys_in(one) for one in value if isinstance(one, dict | list)) if isinstance(value, list) else 0


def _doubled(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Doubled):
        yield f"{path}.{value.key}"
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _doubled(one, f"{path}.{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _doubled(one, f"{path}[{index}]")
