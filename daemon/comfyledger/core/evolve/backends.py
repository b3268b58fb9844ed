"""What the events about backends make of their rows."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.backends import BackendRow
from comfyledger.core.events import BackendAdded, BackendRemoved
from comfyledger.core.rows import Row, Slice


def backend_changed(state: Slice, event: BackendAdded | BackendRemoved) -> tuple[Row, ...]:
    match event:
        case BackendAdded():
            return (BackendRow(event.name, event.url, event.tags, event.ttl_s, event.queue_depth),)
        case BackendRemoved():
            row = state.backend(event.name)
            return (replace(row, present=False),) if row is not None else ()
