"""What the events about inputs make of the rows: where the bytes are, who may use them, and what a prompt loads."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from comfyledger.core.events import (
    InputAdded,
    InputErased,
    InputForgotten,
    InputRemoved,
    InputSent,
    Recorded,
    SourcesFixed,
)
from comfyledger.core.inputs import InputCopy, InputCopyState, InputRow, InputState
from comfyledger.core.rows import PromptRow, Row, Slice
from comfyledger.core.values import LoadedFile

INPUT_FAILED: Final = "input_failed"
"""The code of images that one they are made from cannot be had for."""
InputEvent = InputSent | InputForgotten | InputErased | InputRemoved


def input_added(state: Slice, event: InputAdded, recorded: Recorded) -> tuple[Row, ...]:
    """Copies that were to be removed are wanted again; those that were removed are sent again when they are needed.

    A file that is here stays under its extension.
    """
    before = state.input(event.sha256) or InputRow(event.sha256, event.extension)
    extension = before.extension if before.here else event.extension
    others = {label: named for label, named in before.also_named.items() if label != event.by}
    return (
        replace(
            before,
            extension=extension,
            also_named=others if event.extension == extension else {**others, event.by: event.extension},
            size_bytes=event.size_bytes,
            width=event.width,
            height=event.height,
            checked=event.checked,
            labels=tuple(sorted({*before.labels, event.by})),
            labels_before=_without(before.labels_before, (event.by,)),
            here="kept",
            forgetting=False,
            copies=_copies(before, "removing", "sent"),
            added_ms=recorded.at_ms,
            box=event.box,
        ),
    )


def input_changed(state: Slice, event: InputEvent) -> tuple[Row, ...]:
    row = state.input(event.sha256)
    match event:
        case InputSent():
            row = row or InputRow(event.sha256, event.extension, event.size_bytes)
            before = row.copy_at(event.backend, event.name)
            copies = (*(copy for copy in row.copies if copy is not before), InputCopy(event.backend, event.name))
            return (replace(row, copies=tuple(sorted(copies, key=lambda copy: (copy.backend, copy.name)))),)
        case _ if row is None:
            return ()
        case InputForgotten(labels=labels):
            left, named = _without(row.labels, labels), row.also_named
            return (
                replace(
                    row,
                    labels=left,
                    labels_before=_without(row.labels_before, labels),
                    also_named={label: extension for label, extension in named.items() if label not in labels},
                    forgetting=not left,
                ),
            )
        case InputErased(reason=reason):
            copies = _copies(row, "sent", "removing") if reason == "forgotten" else row.copies
            here: InputState = "removing" if row.here else ""
            return (replace(row, here=here, labels=(), labels_before=row.every_label, copies=copies),)
        case InputRemoved(backend=""):
            return (replace(row, here=""),)
        case InputRemoved(backend=backend, name=name):
            gone = row.copy_at(backend, name)
            copies = tuple(replace(copy, state="removed") if copy is gone else copy for copy in row.copies)
            return (replace(row, copies=copies),)


def _without(labels: tuple[str, ...], going: Collection[str]) -> tuple[str, ...]:
    return tuple(label for label in labels if label not in going)


def _copies(row: InputRow, before: InputCopyState, after: InputCopyState) -> tuple[InputCopy, ...]:
    return tuple(replace(copy, state=after) if copy.state == before else copy for copy in row.copies)


def sources_fixed(state: Slice, event: SourcesFixed) -> tuple[Row, ...]:
    return (replace(state.the_prompt(event.batch_id, event.prompt), loads=event.loads),)


def without_sources(prompt: PromptRow) -> PromptRow:
    """A prompt that is to look for the images that it is made from anew. Inputs are what they were."""
    loads = (load if load.source is None else LoadedFile(load.at, load.source) for load in prompt.loads)
    return replace(prompt, loads=tuple(loads))
