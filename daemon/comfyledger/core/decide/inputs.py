"""What commands and reports about inputs mean. An input that an open batch needs is never erased."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import InputAdded, InputErased, InputForgotten, InputRemoved, InputSent
from comfyledger.core.reports import InputGone, InputRemoving, InputReport, InputSending, InputUnused
from comfyledger.core.results import Changed, InputKnown, Wanted
from comfyledger.core.rows import BatchRow, ImageRow, InputRow, PromptRow
from comfyledger.core.values import PromptFixed
from comfyledger.errors import Refused


def add_input(draft: Draft, command: AddInput) -> InputKnown:
    row = draft.state.input(command.sha256)
    if row is not None and row.is_usable and command.label in row.labels:
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
        )
    )
    return InputKnown(command.sha256, new=True)


def forget_input(draft: Draft, command: ForgetInput) -> Changed:
    """Raises Refused(input_missing) if none of the labels has it."""
    row = draft.state.input(command.sha256)
    going = tuple(label for label in row.labels if label in (command.labels or row.labels)) if row is not None else ()
    if row is None or not going:
        raise missing(command.sha256)
    _forget(draft, row, going, command.label)
    return Changed(1)


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
        hint="Add the file: PUT /v1/inputs, or `add_input` of the Python client.",
    )


def forget_inputs(draft: Draft, batch: BatchRow, images: Sequence[ImageRow], by: str) -> int:
    """Forget what belongs to images that were just forgotten: copies of them that others load, and for the label of
    their batch the inputs that nothing else was made from. Returns how many inputs are forgotten.
    """
    copies = {image.sha256 for image in images if image.sha256}
    inputs = _loaded_by_forgotten(draft, batch.batch_id)
    count = 0
    for row in draft.state.inputs():
        is_input = row.sha256 in inputs and not draft.state.input_use(row.sha256).elsewhere
        going = (batch.label,) if is_input and batch.label in row.labels else ()
        if not row.forgetting and (going or (row.sha256 in copies and not row.labels)):
            _forget(draft, row, going, by)
            count += 1
    return count


def _loaded_by_forgotten(draft: Draft, batch_id: str) -> set[str]:
    """The inputs of prompts of which all images are forgotten, and of no other prompt of the batch."""
    alive = {image.index for image in draft.state.images(batch_id) if not image.is_forgotten}
    prompts = draft.state.prompts(batch_id)
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
        case InputRemoving(backend=backend, name=name):
            return Wanted(go=row is not None and _is_removing(row, backend, name))
        case InputGone(backend=backend, name=name, found=found):
            if row is not None and _is_removing(row, backend, name):
                draft.emit(InputRemoved(report.sha256, backend, found, name))
            return None
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")


def _sending(draft: Draft, row: InputRow | None, report: InputSending) -> Wanted:
    """Known to be there already, or recorded now. An open prompt needs it, so it is not being erased."""
    copy = row.copy_at(report.backend, report.name) if row is not None else None
    if copy is None or copy.state != "sent":
        draft.emit(InputSent(report.sha256, report.size_bytes, report.extension, report.backend, report.name))
    return Wanted(go=True)


def _unused(draft: Draft, row: InputRow | None, report: InputUnused) -> Wanted:
    is_there = row is not None and (row.here == "kept" or any(copy.state == "sent" for copy in row.copies))
    if row is None or not is_there or draft.state.input_use(report.sha256).open:
        return Wanted(go=False)
    if row.forgetting != (report.reason == "forgotten"):
        return Wanted(go=False)
    draft.emit(InputErased(report.sha256, report.reason))
    return Wanted(go=True)


def _is_removing(row: InputRow, backend: str, name: str) -> bool:
    copy = row.copy_at(backend, name)
    return row.here == "removing" if not backend else copy is not None and copy.state == "removing"
