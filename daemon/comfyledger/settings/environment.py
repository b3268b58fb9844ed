"""Keys that the environment sets: COMFYLEDGER_DOOR__PORT=9000 is `port` of `[door]`.

Two underscores separate tables and keys. Names are as in the file, in capitals, with an underscore for each hyphen. A
value is TOML, or else text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from comfyledger.settings.converting import inner, keys_of, nearest
from comfyledger.settings.mistakes import EVERY_KEY, Mistake
from comfyledger.settings.sections import Section, Settings

PREFIX: Final = "COMFYLEDGER_"
BETWEEN: Final = "__"
_OWN: Final = frozenset({"COMFYLEDGER_STATE_DIR"})
"""Variables that the command line and the client read too. They are not keys."""


def overrides(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The variables that set a key, sorted, each with its path in lower case. A name without two underscores sets a key
    of the top level, if such a key exists; other names are not ours.
    """
    top = {name for name, kind in keys_of(Settings).items() if inner(kind) is None and get_origin(kind) is not dict}
    for name in sorted(environ):
        words = name.removeprefix(PREFIX).lower().split(BETWEEN)
        if name.startswith(PREFIX) and name not in _OWN and (len(words) > 1 or words[0] in top):
            yield name, words


def merge(raw: dict[str, Any], environ: Mapping[str, str], mistakes: list[Mistake]) -> dict[str, str]:
    """Let the environment override the file. Returns the paths that were set, each with its variable."""
    set_by: dict[str, str] = {}
    for variable, words in overrides(environ):
        try:
            table, path, kind = _place(raw, words)
        except _NoKey as error:
            mistakes.append(Mistake(variable, error.message, error.hint))
        else:
            table[path[-1]] = _read(environ[variable], kind)
            set_by[".".join(path)] = variable
    return set_by


class _NoKey(Exception):
    def __init__(self, message: str, hint: str = EVERY_KEY) -> None:
        self.message, self.hint = message, hint


def _place(raw: dict[str, Any], words: list[str]) -> tuple[dict[str, Any], list[str], Any]:
    """The table that holds a key (made if it is missing), the key's path, and its type."""
    table, kind, path = raw, Settings, list[str]()
    for word in words[:-1]:
        name, kind = _step(table, kind, word, path)
        path.append(name)
        if not _is_table(kind) or not isinstance(table.get(name, {}), dict):
            raise _NoKey(f"`{'.'.join(path)}` is not a table.")
        table = table.setdefault(name, {})
    name, kind = _step(table, kind, words[-1], path)
    return table, [*path, name], kind


def _step(table: Mapping[str, Any], kind: Any, word: str, path: list[str]) -> tuple[str, Any]:
    """The key that a word means in a table of this type, and the key's own type. Raises _NoKey."""
    if get_origin(kind) is dict:
        return next((name for name in table if name.replace("-", "_") == word), word), get_args(kind)[1]
    keys = keys_of(kind)
    if word not in keys:
        raise _NoKey(f"There is no key `{'.'.join([*path, word])}`.", nearest(word, keys))
    return word, keys[word]


def _is_table(kind: Any) -> bool:
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, Section))


def _read(text: str, kind: Any) -> Any:
    """The text as TOML if the key accepts the result, else the text itself."""
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    return text if kind is str and not isinstance(found, str) else found
