"""Every type that goes over the wire or into the log says what it is, and each of its fields what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from comfyledger import wire
from comfyledger.core.events import KINDS
from comfyledger.wire.problems import Problem
from support.documents import components


def reached(kind: Any, found: dict[type, None]) -> None:
    """The structs that a type is made of, itself included."""
    for part in get_args(kind):
        reached(part, found)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
        found[kind] = None
        for hint in get_type_hints(kind, include_extras=True).values():
            reached(hint, found)


HTTP = (Problem, wire.StreamedEvent)
"""What only HTTP sends."""
TYPES: dict[type, None] = {}
for root in (*wire.REQUESTS.values(), *wire.ANSWERS.values(), *wire.RESULTS.values(), *KINDS.values(), *HTTP):
    reached(root, TYPES)
UNITS = {"_ms": "milliseconds", "_s": "seconds", "_bytes": "bytes", "width": "pixels", "height": "pixels"}


def fields() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every field: its name, its type, and how the JSON Schema shows it."""
    for kind in TYPES:
        hints, shown = get_type_hints(kind, include_extras=True), components([kind])[kind.__name__]["properties"]
        for field in msgspec.structs.fields(kind):
            yield f"{kind.__module__}.{kind.__name__}.{field.name}", hints[field.name], shown[field.encode_name]


def test_the_types_of_every_request_answer_and_event_are_looked_at() -> None:
    assert {kind.__name__ for kind in TYPES} >= {"SubmitBatch", "ImageAsked", "ErrorInfo", "UploadInfo", "Evidence"}


def test_every_type_says_what_it_is_in_sentences() -> None:
    said = {kind.__name__: " ".join((kind.__doc__ or "").split()) for kind in TYPES}
    assert [name for name, text in said.items() if not re.fullmatch(r"[A-Z`].*\.", text)] == []


def test_every_field_says_what_it_means_in_sentences() -> None:
    said = {name: shown.get("description", "") for name, _, shown in fields()}
    assert [name for name, text in said.items() if not re.fullmatch(r"[A-Z`]\S* .*\.", text)] == []


def test_every_field_with_a_unit_names_it() -> None:
    said = [(name, shown["description"].lower()) for name, _, shown in fields()]
    missing = [
        (name, unit) for name, text in said for end, unit in UNITS.items() if name.endswith(end) > (unit in text)
    ]
    assert missing == []


def needs_no_example(hint: Any) -> bool:
    """Structs have examples in their own fields; a boolean and a word out of a list need none."""
    if get_origin(hint) is Literal or hint in {bool, msgspec.Raw, ..., type(None)}:
        return True
    if kinds := get_args(hint) if get_origin(hint) is not dict else ():
        return all(map(needs_no_example, kinds))
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def test_every_field_has_an_example_unless_its_type_says_it_all() -> None:
    bare = [(name, get_args(hint)[0]) for name, hint, shown in fields() if not shown.get("examples")]
    assert [name for name, hint in bare if not needs_no_example(hint)] == []


def test_every_example_is_a_value_that_its_field_takes() -> None:
    shown = [(example, hint) for _, hint, schema in fields() for example in schema.get("examples", [])]
    assert shown
    for example, hint in shown:
        msgspec.convert(example, hint, strict=True)
