"""What commands and reports about inputs mean. An input that an open batch needs is never erased."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from comfyledger.core.commands import AddInput, DropCopies, ForgetInput
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.decide.sources import has_bytes
from comfyledger.core.events import InputAdded, InputErased, InputForgotten, InputRemoved, InputSent
from comfyledger.core.inputs import InputCopy, InputRow, InputUse
from comfyledger.core.reports import InputFound, InputGone, InputRemoving, InputReport, InputSending, InputUnused
from comfyledger.core.results import Changed, InputKnown, Wanted
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.values import PromptFixed
from comfyledger.errors import Refused

AGAIN_MS: Final = 300_000
"""Who adds an input again after this begins its time anew: it may be about to be used, so it must not go just now."""


def add_input(draft: Draft, command: AddInput) -> InputKnown:
    row = draft.state.input(command.sha256)
    is_known = row is not None and row.is_usable and command.label in row.labels
    is_same = row is not None and row.extension_for(command.label) == command.extension
    if is_known and is_same and row is not None and draft.now_ms - row.added_ms < AGAIN_MS:
        return InputKnown(command.sha256, new=False)
    draft.emit(
        InputAdded(
            sha256=command.sha256,
            size_bytes=command.size_bytes,
            extension=command.extension,
            width=command.width,
            height=command.height,
            by=command.label,
            checked=command.checked,
            box=command.box,
        )
    )
    return InputKnown(command.sha256, new=not is_known)


def forget_input(draft: Draft, command: ForgetInput) -> Changed:
    """Raises Refused(input_missing) if none of the labels has it, or had it before its bytes were erased here."""
    row = draft.state.input(command.sha256)
    having = row.every_label if row is not None else ()
    going = tuple(label for label in having if label in (command.labels or having))
    if row is None or not going:
        raise missing(command.sha256)
    _forget(draft, row, going, command.label)
    return Changed(1)


def drop_copies(draft: Draft, command: DropCopies) -> Changed:
    """Those that are owed a removal, and those that would be later. Counts the copies as images."""
    rows = (draft.state.input(sha256) for sha256 in command.sha256s)
    gone = [(row.sha256, copy) for row in rows if row is not None for copy in copies_at(row, command.backend)]
    for sha256, copy in gone:
        draft.emit(InputRemoved(sha256, copy.backend, False, copy.name, given_up=True, by=command.label))
    return Changed(len(gone))


def copies_at(row: InputRow, backend: str) -> list[InputCopy]:
    """The copies that a backend may have."""
    return [copy for copy in row.copies if copy.backend == backend and copy.state != "removed"]


def check_inputs(draft: Draft, prompts: Iterable[PromptFixed]) -> None:
    """Raises Refused(input_missing) if a prompt loads an input that is not there, or is being forgotten."""
    wanted = dict.fromkeys(load.sha256 for prompt in prompts for load in prompt.loads if load.source is None)
    for sha256 in wanted:
        row = draft.state.input(sha256)
        if row is None or not row.is_usable:
            raise missing(sha256)


def missing(sha256: str) -> Refused:
    return Refused(
        "input_missing",
        f"There is no input sha256:{sha256[:64]}.",
        hint="Add the file: `comfyledger input add FILE`, PUT /v1/inputs, or `add_input` of the Python client.",
    )


def forget_inputs(draft: Draft, batch: BatchRow, images: Sequence[ImageRow], by: str) -> int:
    """Forget what belongs to images that were just forgotten. Returns how many inputs."""
    alive = {image.index for image in draft.state.images(batch.batch_id) if not image.is_forgotten}
    known = [(row, draft.state.input_use(row.sha256)) for row in draft.state.inputs()]
    going = inputs_to_forget(batch, draft.state.prompts(batch.batch_id), images, alive, known)
    for row, labels in going:
        _forget(draft, row, labels, by)
    return len(going)


def forget_copies(draft: Draft, sha256: str) -> None:
    """Forget the copies of an image that is lost: later its bytes are others, and nobody could say whose these were."""
    row = draft.state.input(sha256)
    if row is not None and not row.forgetting and not row.every_label:
        _forget(draft, row, (), by="")


def inputs_to_forget(
    batch: BatchRow,
    prompts: Sequence[PromptRow],
    images: Iterable[ImageRow],
    alive: AbstractSet[int],
    known: Iterable[tuple[InputRow, InputUse]],
) -> list[tuple[InputRow, tuple[str, ...]]]:
    """What belongs to images that are forgotten, each with the labels that lose it: the copies of them that others
    load, and the inputs that nothing else was made from.

    `alive`: the indexes of the images of the batch that stay. `known`: what a forget of the batch may concern.
    """
    copies = {image.sha256 for image in images if image.sha256}
    inputs = _loaded_by_forgotten(prompts, alive)
    found = [
        (row, (batch.label,) if row.sha256 in inputs and _is_last_of_label(row, use, batch.label) else ())
        for row, use in known
        if not row.forgetting
    ]
    return [(row, labels) for row, labels in found if labels or (row.sha256 in copies and not row.every_label)]


def _is_last_of_label(row: InputRow, use: InputUse, label: str) -> bool:
    """Whether a label loses an input with the batch in question: no other batch of it was made from the input, nor one
    of a label that never uploaded it.
    """
    return label in row.every_label and not any(other == label or other not in row.labels for other in use.elsewhere)


def _loaded_by_forgotten(prompts: Sequence[PromptRow], alive: AbstractSet[int]) -> set[str]:
    """The inputs of prompts of which all images are forgotten, and of no other prompt of the batch."""
    over, others = (
        _loaded(prompt for prompt in prompts if alive.isdisjoint(prompt.images) is is_over) for is_over in (True, False)
    )
    return over - others


def _loaded(prompts: Iterable[PromptRow]) -> set[str]:
    return {load.sha256 for prompt in prompts for load in prompt.loads if load.sha256 and load.source is None}


def _forget(draft: Draft, row: InputRow, labels: tuple[str, ...], by: str) -> None:
    draft.emit(InputForgotten(row.sha256, labels, by))
    after = draft.state.input(row.sha256)
    if after is not None and after.forgetting and not draft.state.input_use(row.sha256).open:
        draft.emit(InputErased(row.sha256, "forgotten"))


def input_report(draft: Draft, report: InputReport) -> msgspec.Struct | None:
    row = draft.state.input(report.sha256)
    match report:
        case InputSending():
            return _sending(draft, row, report)
        case InputUnused():
            return _unused(draft, row, report)
        case InputFound(box=box):
            return _found(draft, row, box)
        case InputRemoving(backend=backend, name=name):
            return Wanted(go=row is not None and _is_removing(row, backend, name))
        case InputGone(backend=backend, name=name, found=found):
            if row is not None and _is_removing(row, backend, name):
                draft.emit(InputRemoved(report.sha256, backend, found, name))
            return None
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")


def _sending(draft: Draft, row: InputRow | None, report: InputSending) -> Wanted:
    """Known to be there already, or recorded now. What was erased or forgotten meanwhile is not sent any more."""
    if not _may_be_sent(draft, row, report):
        return Wanted(go=False)
    copy = row.copy_at(report.backend, report.name) if row is not None else None
    if copy is None or copy.state != "sent":
        draft.emit(InputSent(report.sha256, report.size_bytes, report.extension, report.backend, report.name))
    return Wanted(go=True)


def _may_be_sent(draft: Draft, row: InputRow | None, report: InputSending) -> bool:
    if report.source is not None:
        image = draft.state.image(report.source.batch_id, report.source.image)
        return image is not None and has_bytes(image) and image.sha256 == report.sha256
    return row is not None and (not row.forgetting or draft.state.input_use(row.sha256).open > 0)


def _unused(draft: Draft, row: InputRow | None, report: InputUnused) -> Wanted:
    """What was forgotten goes everywhere; anything else goes from the daemon's own folder alone."""
    if row is None or not (row.is_ending if report.reason == "forgotten" else row.is_usable):
        return Wanted(go=False)
    if draft.state.input_use(report.sha256).open and report.reason != "missing":
        return Wanted(go=False)
    draft.emit(InputErased(report.sha256, report.reason))
    if report.reason == "missing":  # a file that comes back must not be deleted for this
        draft.emit(InputRemoved(report.sha256, "", found=False))
    return Wanted(go=True)


def _found(draft: Draft, row: InputRow | None, box: str) -> Wanted:
    """The labels that had it have it again, unless it was forgotten."""
    if row is None or row.forgetting or row.here == "removing":
        return Wanted(go=False)
    for label in row.labels_before if not row.here else ():
        added = InputAdded(row.sha256, row.size_bytes, row.extension, row.width, row.height, label, row.checked, box)
        draft.emit(added)
    return Wanted(go=bool(row.labels or row.labels_before))


def _is_removing(row: InputRow, backend: str, name: str) -> bool:
    copy = row.copy_at(backend, name)
    return row.here == "removing" if not backend else copy is not None and copy.state == "removing"
