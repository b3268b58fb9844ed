"""The part of Cloudinary's search language that its own tools use, turned into conditions on the store.

Clauses are joined by AND. Each is `field:value` or `field=value`, with the value in quotes if it contains a space. A
value that ends in `*` is a prefix; for folders `a/*` is the folder and all below it. Everything else is refused.
"""

from __future__ import annotations

import re
from typing import Final

from comfyledger.sim.cloudinary.answers import Refused
from comfyledger.sim.cloudinary.assets import Condition, starts_with

_CLAUSE: Final = re.compile(r'\s*(?P<field>[a-z_]+)\s*[:=]\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s()"]+))\s*')
_AND: Final = re.compile(r"AND\b")
_COLUMNS: Final = {
    "public_id": "public_id",
    "resource_type": "resource_type",
    "type": "type",
    "format": "format",
    "asset_id": "asset_id",
    "etag": "etag",
    "display_name": "display_name",
}
_FOLDER_COLUMN: Final = {"asset_folder": "asset_folder", "folder": "public_id"}


def conditions_of(expression: str) -> list[Condition]:
    """The conditions of an expression. Raises Refused for an expression that is not supported here."""
    return [_condition(field, value) for field, value in clauses_of(expression)]


def clauses_of(expression: str) -> list[tuple[str, str]]:
    """The fields of an expression with their values. Raises Refused."""
    clauses: list[tuple[str, str]] = []
    at = 0
    while at < len(expression.rstrip()):
        joint = _AND.match(expression, at) if clauses else None
        clause = _CLAUSE.match(expression, joint.end() if joint else at)
        if clause is None or (clauses and joint is None):
            raise Refused(400, f"Invalid expression: {expression}")
        quoted = clause["quoted"]
        clauses.append((clause["field"], clause["bare"] if quoted is None else quoted))
        at = clause.end()
    return clauses


def _condition(field: str, value: str) -> Condition:
    if field in _FOLDER_COLUMN:
        return _in_folder(field, value)
    if field == "status":
        return Condition("? = 'active'", (value,))
    if field == "tags":
        return Condition("EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.value = ?)", (value,))
    column = _COLUMNS.get(field)
    if column is None:
        raise Refused(400, f"Invalid field {field}")
    return starts_with(column, value[:-1]) if value.endswith("*") else Condition(f"{column} = ?", (value,))


def _in_folder(field: str, value: str) -> Condition:
    """In an asset folder, or in the folder that the public id names."""
    folder, is_deep = value.removesuffix("*").strip("/"), value.endswith("*")
    if is_deep and not folder:
        return Condition("1")
    below = starts_with(_FOLDER_COLUMN[field], f"{folder}/" if folder else "")
    if field == "asset_folder":
        return Condition(f"asset_folder = ? OR ({below.sql})", (folder, *below.values)) if is_deep else _at(folder)
    if is_deep:
        return below
    depth = Condition("public_id NOT LIKE ? ESCAPE '!'", (f"{_literal(folder)}/%/%" if folder else "%/%",))
    return Condition(f"({below.sql}) AND ({depth.sql})", (*below.values, *depth.values))


def _at(folder: str) -> Condition:
    return Condition("asset_folder = ?", (folder,))


def _literal(text: str) -> str:
    return re.sub(r"([!%_])", r"!\1", text)
