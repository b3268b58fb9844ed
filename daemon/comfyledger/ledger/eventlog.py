"""The log as data: events as lines, their encoding, and the chain of hashes. Where lines are kept is no matter here.

Events are only ever added, by the one writer, at the position after the last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import msgspec

from comfyledger.core.events import KIND_OF, KINDS, BatchRequested, Event, Recorded, stream_of
from comfyledger.core.upcasts import schema_of, upcast
from comfyledger.errors import LedgerUnusable

GENESIS: Final = hashlib.sha256(b"comfyledger").digest()
"""The previous hash of the first event."""

_encoder = msgspec.json.Encoder()
_current: Final[dict[tuple[str, int], Callable[[str | bytes], Event]]] = {
    (kind, schema_of(kind)): msgspec.json.Decoder(event_type).decode for kind, event_type in KINDS.items()
}
"""The decoders of events that need no upcast, by kind and schema."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One event as it is in the log, encoded as JSON. `user`: that of its batch, folded; empty without a batch."""

    position: int
    stream: str
    kind: str
    schema: int
    at_ms: int
    data: str
    hash: bytes
    user: str = ""


def encode(event: Event) -> str:
    return _encoder.encode(event).decode()


def decode(kind: str, schema: int, data: str | bytes) -> Event:
    """An event from its stored form. An older schema is converted to the present one.

    Raises LedgerUnusable for an event of a newer version, msgspec.MsgspecError for data that does not fit its kind.
    """
    current = _current.get((kind, schema))
    if current is not None:
        return current(data)
    if kind not in KINDS or schema > schema_of(kind):
        raise LedgerUnusable(
            f"The log holds an event that this version does not know ({kind}, schema {schema}).",
            hint="Install the version that wrote it.",
        )
    event: Event = msgspec.convert(upcast(kind, schema, msgspec.json.decode(data)), KINDS[kind])
    return event


def decoder_of(kind: str) -> Callable[[str | bytes], Event]:
    """What `decode` does for events of a kind in its present schema, for who decodes many."""
    return _current[kind, schema_of(kind)]


def chained(previous: bytes, line: Line) -> bytes:
    """The hash of a line (32 bytes), from the hash of the line before it."""
    stream, kind, data = line.stream.encode(), line.kind.encode(), line.data.encode()
    return linked(previous, line.position, stream, kind, line.schema, line.at_ms, data)


def linked(previous: bytes, position: int, stream: bytes, kind: bytes, schema: int, at: int, data: bytes) -> bytes:
    """SHA-256 of the previous hash and all columns in their order, each after its own length in four bytes."""
    first, third = b"%d" % position, b"%d" % at
    place, length = _place(stream, kind, schema), len(data).to_bytes(4, "big")
    columns = (previous, _FEW[len(first)], first, place, _FEW[len(third)], third, length, data)
    return hashlib.sha256(b"".join(columns)).digest()


_FEW: Final = tuple(length.to_bytes(4, "big") for length in range(32))
"""The lengths of numbers; a number of 64 bits has at most 20 characters."""


@lru_cache(1_024)
def _place(stream: bytes, kind: bytes, schema: int) -> bytes:
    """Cached, because streams and kinds repeat."""
    return b"".join(len(raw).to_bytes(4, "big") + raw for raw in (stream, kind, b"%d" % schema))


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of the log: the last position and its hash."""

    position: int = 0
    hash: bytes = GENESIS


def lines_of(head: Head, recorded: Iterable[Recorded], users: dict[str, str]) -> list[Line]:
    """The lines of events that follow a head. `users`: the user of each batch, by batch id."""
    lines, previous = [], head.hash
    for entry in recorded:
        event = entry.event
        stream, kind, raw = stream_of(event), KIND_OF[type(event)], _encoder.encode(event)
        schema, user = schema_of(kind), users.get(stream, "")
        if isinstance(event, BatchRequested):
            user = event.user_key
        previous = linked(previous, entry.position, stream.encode(), kind.encode(), schema, entry.at_ms, raw)
        lines.append(Line(entry.position, stream, kind, schema, entry.at_ms, raw.decode(), previous, user))
    return lines
