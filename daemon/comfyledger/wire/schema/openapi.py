"""OpenAPI 3.1 of HTTP `/v1`, made from the table of routes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from comfyledger.core.media import BYTES
from comfyledger.errors import CODES
from comfyledger.wire.answers import RESULTS
from comfyledger.wire.answers.batches import BatchAccepted, BatchInfo
from comfyledger.wire.answers.events import StreamedEvent
from comfyledger.wire.answers.inputs import InputInfo
from comfyledger.wire.answers.webhooks import WebhookPayload
from comfyledger.wire.problems import CONTENT_TYPE, Problem, status_of
from comfyledger.wire.requests.reading import Subscribe
from comfyledger.wire.requests.submitting import SubmitBatch
from comfyledger.wire.routes import (
    CLIENT_HEADER,
    EVENT_STREAM,
    FILE,
    INPUTS,
    KEY_HEADER,
    LAST_EVENT_ID,
    LISTS,
    ROUTES,
    THUMBNAIL,
    WAIT_S_MAX,
    Route,
)
from comfyledger.wire.schema.definitions import COMPONENTS, Schema, as_components, definitions
from comfyledger.wire.schema.examples import example
from comfyledger.wire.schema.sessions import SESSION_TYPES, session_paths
from comfyledger.wire.schema.zips import ZIP_TYPES, zip_paths

JSON: Final = "application/json"
TAGS: Final = {
    "batches": "Ask for images, look at batches, give them up or try them again.",
    "images": "Look at images, at their files and at their history.",
    "inputs": "Files for workflows to load: add, list and forget them.",
    "events": "What happened: pages of the log, or a stream of it.",
    "control": "Stop and continue work, take up what failed, erase what is to be forgotten.",
    "series": "Numbers: open a series, and continue above what a store holds.",
    "webhooks": "Deliver events to an endpoint: add, list, test, replay and remove webhooks.",
    "sessions": "Sessions of the web page.",
    "server": "The daemon, its ComfyUIs, stores, workflows and characters.",
}
_TAG_OF: Final = {
    **dict.fromkeys(("pause", "move", "resume", "recover", "forget", "review", "boxes"), "control"),
    **dict.fromkeys(("server", "workflows", "characters", "backends", "stores", "checks", "activity"), "server"),
    **{part: part for part in ("batches", "images", "inputs", "events", "series", "webhooks")},
    "explain": "images",
}
"""By the first part of the path behind /v1. `/v1/stores/{store}/series` is about series."""
_ABOUT: Final = """The HTTP interface of comfyledger: the same commands and queries as its websocket. A refusal is a
problem (RFC 9457) with a stable code, a sentence and a hint, and has changed nothing."""


def openapi(version: str) -> dict[str, Any]:
    """The document. `version`: the daemon's."""
    schemas = as_components(definitions(Problem, StreamedEvent, WebhookPayload, *SESSION_TYPES, *ZIP_TYPES))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    paths[FILE] = {"get": _file()}
    paths[THUMBNAIL] = {"get": _thumbnail()}
    paths[INPUTS]["put"] = _put_input()
    paths |= session_paths() | zip_paths()
    webhooks = {"event": {"post": _delivery()}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "comfyledger",
            "version": version,
            "description": _words(_ABOUT),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The daemon that this document comes from."}],
        "security": [{"token": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "schemas": {name: _optional(schema) for name, schema in _reached(paths | webhooks, schemas).items()},
            "responses": {"Problem": _problem(schemas)},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token, never in a URL."}
            },
        },
    }


def _delivery() -> Schema:
    """What the daemon sends to the endpoint of a webhook."""
    headers = {
        "webhook-id": "The same at each try of one event.",
        "webhook-timestamp": "When it was sent, in seconds since 1970, UTC.",
        "webhook-signature": "`v1,` and the HMAC-SHA256 of id, time and body in Base64, as Standard Webhooks has it.",
    }
    return {
        "operationId": "deliver_event",
        "tags": ["webhooks"],
        "summary": "An event, as the endpoint of a webhook gets it.",
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        ],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": f"{COMPONENTS}{WebhookPayload.__name__}"}}},
        },
        "responses": {
            "2XX": {"description": "The event was taken."},
            "410": {"description": "Nothing more is wanted: the webhook is paused."},
            "default": {"description": "The event was not taken, and is sent again."},
        },
    }


def _words(text: str) -> str:
    return " ".join(text.split())


# ---- operations


_SHARED: Final = Counter(route.kind for route in ROUTES)


def operation_id(route: Route) -> str:
    """The type of the request, or the last word of the path where several routes are the same request."""
    words = [part for part in route.path.split("/") if "{" not in part]
    return route.kind if _SHARED[route.kind] == 1 else words[-1]


def _operation(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    parts = route.path.removeprefix("/v1/").split("/")
    body = _body(route, schemas) if route.has_body else None
    asked = [route, *([route.as_stream] if route.stream else [])]
    about = {} if route.part else {"description": "\n\n".join(_words(one.request.__doc__ or "") for one in asked)}
    return {
        "operationId": operation_id(route),
        "tags": ["series" if parts[-1] == "series" else _TAG_OF[parts[0]]],
        "summary": route.summary,
        **about,
        "parameters": _all_parameters(asked, schemas),
        **({"requestBody": body} if body is not None else {}),
        "responses": _responses(route, schemas),
    }


def _all_parameters(asked: list[Route], schemas: dict[str, Schema]) -> list[Schema]:
    """The parameters of a page and of a stream of the same path: where both have one, that of the stream takes more."""
    found: dict[tuple[str, str], Schema] = {}
    for route in asked:
        for one in _parameters(route, schemas[route.request.__name__]):
            before = found.setdefault((one["in"], one["name"]), one)
            if before["description"] != one["description"]:
                one["description"] = f"{before['description']} Of a stream: {one['description']}"
            found[one["in"], one["name"]] = one
    return list(found.values())


def _parameters(route: Route, kind: Schema) -> Iterator[Schema]:
    for name in route.in_path:
        yield _parameter("path", name, route.renamed.get(name, name), kind)
    if not route.has_body:
        for name, field in route.fields.items():
            yield _parameter("query", name, field, kind)
    if route.waits:
        yield _given("query", "wait", _WAIT, {"type": "integer", "minimum": 1, "maximum": WAIT_S_MAX}, 60)
    if route.request is SubmitBatch:
        yield _given("header", KEY_HEADER, _KEY, {"type": "string", "minLength": 1, "maxLength": 128}, "order-1001")
    if route.request is Subscribe:
        yield _given(
            "header", LAST_EVENT_ID, _SEEN, {"type": "string", "pattern": _ID}, "01M82DA8V724WA3CWZEFZYJASQ:14"
        )
    yield _given("header", CLIENT_HEADER, _LABEL, {"type": "string", "minLength": 1, "maxLength": 64}, "my-app")


_WAIT: Final = "Wait up to so many seconds for the batch to settle, and answer with the batch."
_KEY: Final = "Stands for `request_id` in the body. If both are given, they must be equal."
_SEEN: Final = "Of a stream: the `id` of the last event that was seen. Stands for `epoch` and `after`."
_ID: Final = "^[A-Za-z0-9_]{1,64}:[0-9]{1,19}$"
_LABEL: Final = (
    "Names the client if its token has no label of its own; a `request_id` belongs to the label. "
    "Without it the label is `default`."
)


def _given(where: str, name: str, text: str, schema: Schema, shown: object) -> Schema:
    return {"name": name, "in": where, "required": False, "description": text, "schema": schema, "example": shown}


def _parameter(where: str, name: str, field: str, kind: Schema) -> Schema:
    """A field of a request in the path or the query, where leaving it out stands for null."""
    schema = dict(kind["properties"][field])
    text, examples = schema.pop("description"), schema.pop("examples", [])
    if schema.get("default", 0) is None:
        del schema["default"]
    if "anyOf" in schema:
        choices = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
        schema |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    if "enum" in schema:
        schema["enum"] = [one for one in schema["enum"] if one is not None]
    required = where == "path" or field in kind["required"]
    shown = {"example": examples[0]} if examples else {}
    style = {"style": "form", "explode": False} if field in LISTS else {}
    return {"name": name, "in": where, "required": required, "description": text, "schema": schema, **style, **shown}


_NEEDS_BODY: Final = frozenset({"submit_batch"})
"""Requests of which no field alone is required, and that are refused without any: a user and a character, or `like`."""


def _body(route: Route, schemas: dict[str, Schema]) -> Schema:
    """The request's fields that do not stand in the path. `request_id` may stand in a header."""
    name = route.request.__name__
    kind, fields = schemas[name], set(route.fields)
    required = [field for field in kind["required"] if field in fields and field != "request_id"]
    if fields != set(kind["properties"]) or required != kind["required"]:
        properties = {field: one for field, one in kind["properties"].items() if field in fields}
        schemas[f"{name}Body"] = kind | {"title": f"{name}Body", "properties": properties, "required": required}
        name = f"{name}Body"
    shown = example({"$ref": COMPONENTS + route.request.__name__}, schemas)
    content = {
        "schema": {"$ref": COMPONENTS + name},
        "example": {field: one for field, one in shown.items() if field in fields},
    }
    return {"required": bool(required) or route.kind in _NEEDS_BODY, "content": {JSON: content}}


def _file() -> dict[str, Any]:
    """The bytes of an image: no request of the websocket, so not in the table of routes."""
    moved = {"Location": {"description": "The `https` address of the store.", "schema": {"type": "string"}}}
    return {
        "operationId": "get_file",
        "tags": ["images"],
        "summary": "Get the file of an image",
        "description": "With a token, or by a `file_url` as an answer gave it. `Range` and `If-None-Match` work.",
        "security": [{"token": []}, {}],
        "parameters": [*_signed(), _given("query", "redirect", _REDIRECT, {"type": "boolean"}, False)],
        "responses": {
            "200": {"description": "The file, with its own content type.", "content": {"*/*": {}}},
            "206": {"description": "The part that `Range` asks for.", "content": {"*/*": {}}},
            "302": {"description": "The spool no longer holds it, and a store serves it.", "headers": moved},
            "304": {"description": "The client has these bytes already."},
            "416": {"description": "The file has no such part."},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _thumbnail() -> dict[str, Any]:
    """A small picture of an image: no request of the websocket either."""
    size = {"type": "string", "enum": ["small", "large"]}
    return {
        "operationId": "get_thumbnail",
        "tags": ["images"],
        "summary": "Get a small picture of an image",
        "description": "With a token, or by a `thumbnail_url` as an answer gave it. `If-None-Match` works.",
        "security": [{"token": []}, {}],
        "parameters": [*_signed(), _given("query", "size", "Of at most 256 or 1024 pixels.", size, "small")],
        "responses": {
            "200": {"description": "The thumbnail.", "content": {"image/webp": {}}},
            "304": {"description": "The client has it already."},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _signed() -> list[dict[str, Any]]:
    """The parameters of an address that needs no token."""
    digits = {"type": "string", "pattern": "^[1-9][0-9]{0,11}$"}
    name = {"name": "image", "in": "path", "required": True, "description": _IMAGE, "schema": {"type": "string"}}
    return [
        {**name, "example": "01M82DA9EJBQZAAZJR4D2RM95D/1"},
        _given("query", "expires", "When the signed address ends, in seconds since 1970.", digits, "1795985280"),
        _given("query", "signature", _SIGNATURE, {"type": "string"}, "5f0c"),
    ]


_REDIRECT: Final = (
    "`false`: the daemon itself sends a file that only a store has. Otherwise it may redirect to the store."
)
_IMAGE: Final = "The image: its public id, folder included, or `<batch_id>/<index>`."
_SIGNATURE: Final = "The signature of image, variant and `expires`, in hexadecimal. Given together with `expires`."


def _put_input() -> dict[str, Any]:
    """The bytes of an input file: no request of the websocket, so not in the table of routes."""
    answer = {"$ref": COMPONENTS + InputInfo.__name__}
    return {
        "operationId": "put_input",
        "tags": ["inputs"],
        "summary": "Add an input file.",
        "description": _words(_PUT),
        "parameters": [
            _given("query", "name", _NAMED, {"type": "string", "minLength": 1, "maxLength": 255}, "portrait.png"),
            _given("header", CLIENT_HEADER, _LABEL, {"type": "string", "minLength": 1, "maxLength": 64}, "my-app"),
        ],
        "requestBody": {"required": True, "description": "The file itself.", "content": {BYTES: {}}},
        "responses": {
            "200": _answered("The input file, which this client had already.", answer),
            "201": _answered("The new input file.", answer),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


_PUT: Final = """The body is the file as it is, with or without a length. The same bytes are the same input file. Its
content type is ignored. With `Expect: 100-continue` a refusal comes before the body is sent."""
_NAMED: Final = (
    "The name of the file. Only its extension counts, and only where the bytes do not say what they are. "
    "`filename` in the header `Content-Disposition` does the same."
)


# ---- answers


def _responses(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    answer = RESULTS[route.kind]
    schema: Schema = {"$ref": COMPONENTS + answer.__name__}
    text = _words(answer.__doc__ or "")
    if route.part:
        part = schemas[answer.__name__]["properties"][route.part]
        schema, text = {"type": "object", "properties": {route.part: part}, "required": [route.part]}, route.summary
    found = {str(route.status): _answered(text, schema)}
    if route.stream:
        found["200"]["content"][EVENT_STREAM] = {"schema": {"$ref": COMPONENTS + StreamedEvent.__name__}}
    if answer is InputInfo and route.status == 201:
        found["200"] = _answered("The input file, which this client had already.", schema)
    if answer is BatchAccepted:
        batch = {"$ref": COMPONENTS + BatchInfo.__name__}
        found["201"]["headers"] = {"Location": {"description": "The batch.", "schema": {"type": "string"}}}
        found["200"] = _answered("The batch after `wait`. Of a dry run: what was found.", {"anyOf": [batch, schema]})
        found["202"] = _answered("The batch, which was still open after `wait`.", batch)
    return found | {"default": {"$ref": "#/components/responses/Problem"}}


def _answered(text: str, schema: Schema) -> dict[str, Any]:
    return {"description": text, "content": {JSON: {"schema": schema}}}


def _problem(schemas: dict[str, Schema]) -> Schema:
    statuses: dict[int, list[str]] = {}
    for code in CODES:
        statuses.setdefault(status_of(code), []).append(f"`{code}`")
    lines = "\n".join(f"- {status}: {', '.join(codes)}" for status, codes in sorted(statuses.items()))
    reference = {"$ref": COMPONENTS + Problem.__name__}
    return {
        "description": f"A refusal. Nothing was changed. The codes by their status:\n\n{lines}",
        "content": {CONTENT_TYPE: {"schema": reference, "example": example(reference, schemas)}},
    }


def _reached(paths: object, schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The schemas that operations refer to, and those that these refer to."""
    reached: set[str] = set()
    waiting = {*_named(paths), Problem.__name__}
    while waiting:
        reached |= waiting
        waiting = {name for one in waiting for name in _named(schemas[one])} - reached
    return {name: schema for name, schema in schemas.items() if name in reached}


def _optional(schema: Schema) -> Schema:
    """The schema with defaults in words. A field with `default` would be there for openapi-typescript, but the daemon
    leaves out what has its default."""
    fields: dict[str, Schema] = schema.get("properties", {})
    for field in fields.values():
        if default := field.pop("default", None):
            field["description"] += f" Default: `{json.dumps(default)}`."
    return schema


def _named(part: object) -> Iterator[str]:
    """The names of the schemas that a part of the document refers to."""
    inner: Iterable[object] = ()
    if isinstance(part, dict):
        if str(part.get("$ref", "")).startswith(COMPONENTS):
            yield str(part["$ref"]).removeprefix(COMPONENTS)
        inner = part.values()
    elif isinstance(part, list):
        inner = part
    for one in inner:
        yield from _named(one)
