"""Converts the tables of a TOML file to the frozen types, key by key, so that one mistake does not hide the next.

The types alone say which keys exist. An invalid key takes its default, so that the keys that depend on it can be
checked too. The caller decides what to do about mistakes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from comfyledger.settings.mistakes import EVERY_KEY, Mistake
from comfyledger.settings.sections import Character, Name, Section, Settings, Workflow

_NOT_KEYS: Final = frozenset({"source"})
_STAND_IN: Final[dict[tuple[type[Section], str], str]] = {(Workflow, "file"): "sample:empty-image"}
"""A missing key that has no default."""
S = TypeVar("S", bound=Section)


def convert(raw: Mapping[str, Any], mistakes: list[Mistake]) -> Settings:
    """The settings as far as they can be read. Mistakes are added to `mistakes`."""
    return _section(raw, Settings, "", mistakes)


def convert_character(raw: Mapping[str, Any], path: str, mistakes: list[Mistake]) -> Character:
    """A character as far as it can be read. Mistakes are added to `mistakes`, with paths below `path`."""
    return _section(raw, Character, path, mistakes)


@cache
def keys_of(kind: type[Section]) -> Mapping[str, Any]:
    """The keys of a section with their types, in the order of the types."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.__struct_fields__ if name not in _NOT_KEYS}


def inner(kind: Any) -> type[Section] | None:
    """The type of the section that is under this key, or of each of its named tables."""
    found = get_args(kind)[1] if get_origin(kind) is dict else kind
    return found if isinstance(found, type) and issubclass(found, Section) else None


def nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean `{near[0]}`?" if near else EVERY_KEY


def _section(raw: Mapping[str, Any], kind: type[S], path: str, mistakes: list[Mistake]) -> S:
    keys = keys_of(kind)
    values: dict[str, Any] = {}
    for name, value in raw.items():
        where = f"{path}.{name}" if path else name
        if name not in keys:
            mistakes.append(Mistake(where, "This key is unknown.", nearest(name, keys)))
        else:
            _put(values, name, _value(value, keys[name], where, mistakes))
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in values:
            if field.name not in raw:
                mistakes.append(Mistake(f"{path}.{field.name}", "This key is missing."))
            values[field.name] = _STAND_IN[kind, field.name]
    return kind(**values)


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    if value is not msgspec.UNSET:
        values[name] = value


def _value(value: Any, kind: Any, path: str, mistakes: list[Mistake]) -> Any:
    """The converted value; UNSET if it cannot be used."""
    if not isinstance(value, Mapping) or (get_origin(kind) is not dict and inner(kind) is None):
        return _plain(value, kind, path, mistakes)
    if get_origin(kind) is not dict:
        return _section(value, kind, path, mistakes)
    key_kind, value_kind = get_args(kind)
    found: dict[str, Any] = {}
    for name, one in value.items():
        where = f"{path}.{name}"
        if key_kind is Name:
            _plain(name, Name, where, mistakes)
        _put(found, name, _value(one, value_kind, where, mistakes))
    return found


def _plain(value: Any, kind: Any, path: str, mistakes: list[Mistake]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        mistakes.append(Mistake(path, f"{str(error).partition(' - at ')[0]}."))
        return msgspec.UNSET
