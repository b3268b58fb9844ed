"""The schemas that all documents have in common: one for each type of the wire and of the events, by its name."""

from __future__ import annotations

import functools
import json
from typing import Any, Final

import msgspec

from comfyledger.core.events import KINDS
from comfyledger.errors import CODES
from comfyledger.wire.answers import ANSWERS, RESULTS
from comfyledger.wire.requests import REQUESTS

Schema = dict[str, Any]

_PLACE: Final = "#/$defs/"
COMPONENTS: Final = "#/components/schemas/"
_EVENT: Final = "Event"
"""Ends the name of an event's schema: an answer may have the same name without it (`SeriesRaised`)."""
ERROR_CODE: Final = "ErrorCode"
EVENT_OF_KIND: Final = "EventOfKind"
_OF_KIND: Final = {"kind", "data"}
_ALTERNATIVES: Final = {
    "FileAsked": ((("input",), ()), (("image",), ())),
    "ImageWanted": ((("username", "character", "number"), ("premade", "medium")), (("request_id", "index"), ())),
}
"""Types of which only some fields go together: the required and the optional ones of each alternative."""
_SHAPE: Final = {"properties", "additionalProperties"}


def reference(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": _PLACE + name}


def event_schema(kind: str) -> str:
    """The name of the schema of a kind of event."""
    return KINDS[kind].__name__ + _EVENT


@functools.cache
def _text(others: tuple[type, ...]) -> str:
    """All schemas as JSON, so that every caller gets a copy of its own."""
    wire: list[type] = list(dict.fromkeys((*REQUESTS.values(), *ANSWERS.values(), *RESULTS.values(), *others)))
    _, found = msgspec.json.schema_components(wire, ref_template=_PLACE + "{name}")
    _, events = msgspec.json.schema_components(list(KINDS.values()), ref_template=_PLACE + "{name}")
    kinds = {event.__name__ for event in KINDS.values()}
    found |= {name + _EVENT if name in kinds else name: schema for name, schema in events.items()}
    for name, schema in found.items():
        schema["title"] = name
        schema["description"] = " ".join(schema["description"].split())
    found[ERROR_CODE] = _error_code()
    found[EVENT_OF_KIND] = _event_of_kind()
    _refine(found)
    return json.dumps({name: _alone(schema) for name, schema in found.items()})


def definitions(*others: type) -> dict[str, Schema]:
    """Every schema of the websocket by its name, and those of `others`."""
    schemas: dict[str, Schema] = json.loads(_text(others))
    return schemas


def as_components(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The schemas for a document that keeps them under `components`, as OpenAPI and AsyncAPI do."""
    moved: dict[str, Schema] = json.loads(json.dumps(schemas).replace(f'"{_PLACE}', f'"{COMPONENTS}'))
    return moved


def _refine(found: dict[str, Schema]) -> None:
    """Says what the types alone do not: the error codes, which fields go together, and which fields an event of a kind
    has.
    """
    for name, alternatives in _ALTERNATIVES.items():
        found[name] = _any_of(found[name], alternatives)
    for name in {"ErrorInfo", "SubscriptionEnded", "Problem"} & set(found):
        code = found[name]["properties"]["code"]
        found[name]["properties"]["code"] = reference(ERROR_CODE) | {"description": code["description"]}
    for name in {"LoggedEvent", "PastEvent", "StreamedEvent"} & set(found):
        head, place = found[name], f"{name}Place"
        found[name] = {
            "title": name,
            "description": head["description"],
            "allOf": [reference(place), reference(EVENT_OF_KIND)],
        }
        fields = {field: one for field, one in head["properties"].items() if field not in _OF_KIND}
        found[place] = head | {
            "title": place,
            "description": "Where an event is in the log, and for whom.",
            "properties": fields,
            "required": [field for field in head["required"] if field not in _OF_KIND],
        }


def _any_of(whole: Schema, alternatives: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]) -> Schema:
    """An object that has the fields of one of the alternatives."""
    head = {key: one for key, one in whole.items() if key in {"title", "description"}}
    found = []
    for required, optional in alternatives:
        properties = {field: whole["properties"][field] for field in (*required, *optional)}
        shape = {"properties": properties, "required": [*required], "additionalProperties": False}
        found.append({"type": "object"} | shape)
    return head | {"anyOf": found}


def _alone(schema: Any) -> Any:
    """The schema as all tools read it alike.

    A reference that has words beside it is wrapped: before draft 2019-09 the words were ignored, and some tools make
    two types of it. An object of anything says so.
    """
    if isinstance(schema, list):
        return [_alone(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and len(schema) > 1:
        return {"allOf": [{"$ref": schema["$ref"]}]} | {key: one for key, one in schema.items() if key != "$ref"}
    anything = {"additionalProperties": True} if schema.get("type") == "object" and not _SHAPE & set(schema) else {}
    return {key: _alone(one) for key, one in schema.items()} | anything


def _error_code() -> Schema:
    told = "\n".join(f"- `{code}`: {sentence}" for code, sentence in CODES.items())
    return {
        "title": ERROR_CODE,
        "description": f"Why a request was refused. Stable: a code is never renamed or reused.\n\n{told}",
        "type": "string",
        "enum": list(CODES),
    }


def _event_of_kind() -> Schema:
    """The kind of an event together with its fields: a reader that knows the kind knows the fields."""

    def one(kind: str) -> Schema:
        properties = {"kind": {"const": kind}, "data": reference(event_schema(kind))}
        return {"type": "object", "properties": properties, "required": ["kind", "data"]}

    return {
        "title": EVENT_OF_KIND,
        "description": "The kind of an event, and its fields exactly as in the log. Later versions may add kinds.",
        "anyOf": [one(kind) for kind in KINDS],
    }
