"""Examples of whole messages, put together from the examples of their fields."""

from __future__ import annotations

from typing import Any, Final

from comfyledger.wire.schema.definitions import Schema

_SHOWN: Final = {"SubmitBatch": ("premade", "quantity"), "ListBatches": ("username",), "Pause": ("scope",)}
"""Fields that an example has although they are not required."""


def example(schema: Schema, known: dict[str, Schema]) -> Any:
    """A value that fits a schema. `known`: what its references mean. Objects have their required fields."""
    if "$ref" in schema:
        return example(known[schema["$ref"].rpartition("/")[2]], known)
    for given in ("examples", "enum"):
        if given in schema:
            return schema[given][0]
    if "const" in schema:
        return schema["const"]
    if "allOf" in schema:
        parts = [example(one, known) for one in schema["allOf"]]
        return {key: value for part in parts for key, value in part.items()} if len(parts) > 1 else parts[0]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], known)
    return _plain(schema, known)


def _plain(schema: Schema, known: dict[str, Schema]) -> Any:
    match schema.get("type"):
        case "object":
            names = [*schema.get("required", []), *_SHOWN.get(schema.get("title", ""), ())]
            return {name: example(schema["properties"][name], known) for name in names}
        case "array":
            return [example(schema["items"], known)]
        case "boolean":
            return bool(schema.get("default", True))
        case kind:
            return {"string": "", "integer": 0, "number": 0.0, None: {}}.get(kind)
