"""What a row asks for, and the id of its request. Pure.

The columns below are fields of `submit_batch`, every other column is an input. The id is made of what the row itself
says, not of the options of the command: the same file twice is the same requests.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from comfyledger import wire
from comfyledger.cli.typed_values import input_value
from comfyledger.errors import Refused

NEEDED: Final = ("username", "character")
_WHOLE: Final = re.compile(r"\s*(-?[0-9]{1,40})\s*")
_TRUTH: Final = {"true": True, "false": False}


def fields_of(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `submit_batch` that the cells of a row give. Raises Refused(invalid_field), with the column."""
    fields: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    for column, cell in cells.items():
        if column not in COLUMNS:
            inputs[column] = _input(column, cell)
        elif cell is not None:
            fields[column] = COLUMNS[column](column, cell)
    return {**fields, "inputs": inputs} if inputs else fields


def filled(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row with the defaults of those that it lacks. Raises Refused(invalid_field) if one is needed."""
    asked = {**defaults, **fields, "inputs": {**defaults.get("inputs", {}), **fields.get("inputs", {})}}
    if "output" in fields:
        asked.pop("outputs", None)
    for column in NEEDED:
        if not asked.get(column):
            raise Refused("invalid_field", f"The row has no {column}.{near(column, asked['inputs'])}", path=column)
    return asked


def near(column: str, columns: Iterable[str]) -> str:
    """A sentence about the column that may have been meant; empty if there is none."""
    found = difflib.get_close_matches(column, columns, 1)
    return f" Is it the column {found[0][:100]!r}?" if found else ""


class RequestIds:
    """The ids of a file's rows, from its first row to its last. `run`: tells two submissions of one file apart."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._seen: Counter[bytes] = Counter()

    def next(self, fields: Mapping[str, Any]) -> str:
        """The id of the next row. Equal rows have different ids. `fields`: what the row itself gives."""
        content = json.dumps([self._run, fields], sort_keys=True).encode()
        digest = hashlib.sha256(content).digest()[:16]
        self._seen[digest] += 1
        return f"row-{digest.hex()}-{self._seen[digest]}"


def _input(column: str, cell: Any) -> Any:
    if cell is None or isinstance(cell, str | int | float) or _names_file(cell):
        return cell
    raise _wrong(column, 'a text, a number, true, false, null, or a file: {"input": ...} or {"image": ...}')


def _names_file(cell: Any) -> bool:
    try:
        return isinstance(msgspec.convert(cell, wire.FileAsked), wire.FileAsked)
    except msgspec.ValidationError:
        return False


def _text(column: str, cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    raise _wrong(column, "a text")


def _whole(column: str, cell: Any) -> int:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    found = _WHOLE.fullmatch(cell) if isinstance(cell, str) else None
    if found is None:
        raise _wrong(column, "a whole number")
    return int(found[1])


def _seed(column: str, cell: Any) -> int | str:
    """`random` is a seed that is made up."""
    return cell if cell == "random" else _whole(column, cell)


def _truth(column: str, cell: Any) -> bool:
    """Spreadsheets write TRUE and FALSE."""
    found = _TRUTH.get(cell.strip().lower()) if isinstance(cell, str) else cell
    if not isinstance(found, bool):
        raise _wrong(column, "true or false")
    return found


def _texts(column: str, cell: Any) -> list[str]:
    """Several are separated by commas."""
    found = [part.strip() for part in cell.split(",")] if isinstance(cell, str) else cell
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise _wrong(column, "texts")
    return [one for one in found if one]


def _wrong(column: str, needed: str) -> Refused:
    return Refused("invalid_field", f"{column[:100]} must be {needed}.", path=column[:100])


COLUMNS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "username": _text,
    "character": _text,
    "quantity": _whole,
    "premade": _truth,
    "seed": _seed,
    "workflow": _text,
    "priority": _text,
    "tags": _texts,
    "output": _text,
    "images_per_prompt": _whole,
}
"""The columns that are fields of `submit_batch`, each with what reads it."""


def from_texts(cells: Mapping[str, str]) -> dict[str, Any]:
    """The cells of CSV: an input may be a JSON scalar or a file, like on the command line."""
    return {column: cell if column in COLUMNS else _typed(cell) for column, cell in cells.items()}


def _typed(cell: str) -> Any:
    return msgspec.to_builtins(input_value(cell))
