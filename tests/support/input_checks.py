"""What must be so of inputs, of who uses them, and of images that others are made from, whatever has happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfyledger.core.events import BatchRequested, BatchSettled, InputAdded, Recorded, SourcesFixed
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import BatchRow, PromptRow, Row, RowId

Found = set[tuple[Any, ...]]


def tables_of_inputs(log: list[Recorded], rows: dict[RowId, Row]) -> dict[str, Found]:
    """The tables that have no rows of their own, as they must be after a log that led to these rows."""
    batches = {row.batch_id: row for row in rows.values() if isinstance(row, BatchRow)}
    return {
        "input_labels": set(_labels(log, (row for row in rows.values() if isinstance(row, InputRow)))),
        "input_uses": set(_uses(log, batches)),
        "image_uses": {use for entry in log if isinstance(entry.event, BatchRequested) for use in _made(entry.event)},
    }


def _labels(log: Iterable[Recorded], rows: Iterable[InputRow]) -> Iterable[tuple[Any, ...]]:
    added = {(one.event.sha256, one.event.by): one.at_ms for one in log if isinstance(one.event, InputAdded)}
    for row in rows:
        yield from ((row.sha256, label, added[row.sha256, label], 1) for label in row.labels)
        yield from ((row.sha256, label, added[row.sha256, label], 0) for label in row.labels_before)


def _uses(log: Iterable[Recorded], batches: dict[str, BatchRow]) -> Iterable[tuple[Any, ...]]:
    """A batch uses all that it ever named, as long as not all of it is forgotten."""
    settled_ms, used = dict[str, int](), set[tuple[str, str]]()
    for entry in log:
        match entry.event:
            case BatchRequested(batch_id=batch_id, prompts=prompts):
                used |= {(batch_id, load.sha256) for prompt in prompts for load in prompt.loads if load.sha256}
            case SourcesFixed(batch_id=batch_id, loads=loads):
                used |= {(batch_id, load.sha256) for load in loads}
            case BatchSettled(batch_id=batch_id):
                settled_ms[batch_id] = entry.at_ms
            case _:
                pass
    for batch_id, sha256 in used:
        batch = batches[batch_id]
        if batch.forgotten < batch.images:
            yield sha256, batch.label, batch_id, settled_ms[batch_id] if batch.settled else 0


def _made(event: BatchRequested) -> Iterable[tuple[Any, ...]]:
    by = (event.label, event.batch_id)
    if event.origin is not None:
        yield event.origin.batch_id, event.origin.image, "like", *by
    sources = (load.source for prompt in event.prompts for load in prompt.loads)
    yield from ((source.batch_id, source.image, "source", *by) for source in sources if source is not None)


def check_loads(rows: dict[RowId, Row]) -> None:
    """No attempt begins before all files of its prompt are known; and what open work loads is not erased here."""
    for row in rows.values():
        if isinstance(row, PromptRow) and row.loads:
            _check_prompt(row, rows)


def _check_prompt(prompt: PromptRow, rows: dict[RowId, Row]) -> None:
    batch = rows["batch", prompt.batch_id, ""]
    assert isinstance(batch, BatchRow)
    assert batch.loads_files
    assert not (prompt.lacks_sources and (prompt.at_comfyui or prompt.state == "finished"))
    for load in prompt.loads:
        row = rows.get(("input", load.sha256, ""))
        if load.source is None and not batch.settled:
            assert isinstance(row, InputRow)
            assert row.here == "kept", f"{prompt.batch_id} needs {load.sha256}"
