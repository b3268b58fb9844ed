"""The configuration for people and for editors: every value with its source, and a JSON Schema. Secrets are masked."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from datetime import date, time
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from comfyledger.core.urls import MASK, shown_url
from comfyledger.settings import sections
from comfyledger.settings.reading import Read
from comfyledger.settings.sections import Secret, Section, Settings

DEFAULT: Final = "default"
_URLS: Final = re.compile(r"(proxy|prefix|endpoint|address)$")
"""Options of plugins that contain URLs, perhaps without a scheme."""
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


class Entry(msgspec.Struct, frozen=True):
    """A key with its value. `source`: `default`, `file`, `command line` or the variable that set it."""

    path: tuple[str, ...]
    value: Any
    source: str


def entries(read: Read) -> Iterator[Entry]:
    """All keys, in the order of the types. A key that is not set and has no default is omitted."""
    for path, value in _walk(read.settings, ()):
        yield Entry(path, _shown(path[-1], value), _source(read, path))


def _shown(key: str, value: Any) -> Any:
    """The value without secrets, also those in URLs. A plugin may have a URL under any key."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, list):
        return [_shown(key, one) for one in value]
    is_url = isinstance(value, str) and ("://" in value or _URLS.search(key) is not None)
    return shown_url(value) if is_url else value


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    table = asdict(value) if isinstance(value, Section) else value
    if not isinstance(table, dict):
        if value is not None:
            yield path, list(value) if isinstance(value, tuple) else value
        return
    for name, one in table.items():
        if path or name != "source":
            yield from _walk(one, (*path, name))


def _source(read: Read, path: tuple[str, ...]) -> str:
    """The source of an option of a store, which may be in the section of its kind."""
    where = [".".join(path)]
    if path[0] == "stores" and len(path) > 2:
        where.append(".".join(("plugins", str(read.settings.stores[path[1]]["kind"]), *path[2:])))
    return next((read.set_by[one] for one in where if one in read.set_by), DEFAULT)


def as_toml(read: Read) -> str:
    """TOML that can be read again, except for the secrets. Behind each key is the source of its value."""
    tables: dict[tuple[str, ...], list[str]] = {(): []}  # keys without a table come first
    for entry in entries(read):
        value = f"0o{entry.value:o}" if entry.path in _OCTAL else _toml(entry.value)
        line = f"{_toml_key(entry.path[-1])} = {value} # {entry.source}"
        tables.setdefault(entry.path[:-1], []).append(line)
    parts = [[f"[{'.'.join(map(_toml_key, path))}]"] * bool(path) + lines for path, lines in tables.items()]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


_OCTAL: Final = frozenset({("door", "unix_mode")})
"""Keys that people write as octal numbers."""


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _toml(value: Any) -> str:
    """A value in TOML 1.0, on one line. JSON strings are TOML strings, except for DEL."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            pairs = (f"{_toml_key(key)} = {_toml(one)}" for key, one in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


# ---- for editors


def json_schema() -> dict[str, Any]:
    """A JSON Schema of the whole file. The sentences below the keys are its descriptions."""
    schema = msgspec.json.schema(Settings)
    definitions = schema["$defs"]
    del definitions["Settings"]["properties"]["source"]
    for name, sentences in _sentences().items():
        for key, sentence in sentences.items():
            found = definitions.get(name, {}).get("properties", {}).get(key)
            if found is not None:
                found["description"] = sentence
    return {"$schema": _DRAFT, "title": "The configuration of comfyledger", **schema}


def _sentences() -> dict[str, dict[str, str]]:
    """The sentence below each key in the source, by section and key."""
    tree = ast.parse(inspect.getsource(sections))
    return {node.name: dict(_below(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _below(section: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for key, text in zip(section.body, section.body[1:], strict=False):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and is_text:
            yield key.target.id, " ".join(str(text.value.value).split())  # type: ignore[attr-defined]
