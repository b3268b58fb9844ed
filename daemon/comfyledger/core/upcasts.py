"""Old forms of events: from the fields as they were written to the fields as they are now. Pure; nothing is looked up.

Stored bytes are never rewritten, so each form that a released version ever wrote is read for ever. A kind of event has
one upcaster for each schema version that it has left behind: the first makes version 2 of version 1, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Fields = dict[str, Any]
Upcaster = Callable[[Fields], Fields]


def _one_output(fields: Fields) -> Fields:
    """Batches had one output, whose files were images."""
    output = {"node": fields["plan"].get("output", ""), "medium": "image", "series": fields["series"]}
    return fields | {"outputs": [output]}


def _bound_late(fields: Fields) -> Fields:
    """Each prompt was bound to the one ComfyUI that was configured. Now any may take it that was not sent yet."""
    return fields | {"prompts": [prompt | {"backend": ""} for prompt in fields["prompts"]]}


UPCASTERS: Final[dict[str, tuple[Upcaster, ...]]] = {"batch_requested": (_one_output, _bound_late)}
"""By kind."""


def schema_of(kind: str) -> int:
    """The schema version that new events of a kind are written with."""
    return 1 + len(UPCASTERS[kind]) if kind in UPCASTERS else 1


def upcast(kind: str, schema: int, fields: Fields) -> Fields:
    """The fields of an event in its present version, step by step from the version that it was written in."""
    for step in UPCASTERS.get(kind, ())[schema - 1 :]:
        fields = step(fields)
    return fields
