"""What reports mean about the images that a prompt is made from."""

from __future__ import annotations

from typing import Final

from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import ImageFailed, SourcesFixed
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.reports import SourceEnded, SourceReport, SourcesFound
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import LoadedFile

_ENDED: Final = frozenset({"failed", "cancelled", "forgetting", "forgotten"})


def has_bytes(image: ImageRow | None) -> bool:
    """Whether another prompt can be made from an image: stores may refuse it and still it has bytes."""
    return image is not None and bool(image.sha256) and image.state not in _ENDED


def has_ended(image: ImageRow | None) -> bool:
    """Whether an image has come to its end without bytes that may be used. A retry may take it up."""
    return image is None or image.state in _ENDED


def source_report(draft: Draft, report: SourceReport) -> None:
    match report:
        case SourcesFound():
            _sources_found(draft, report)
        case SourceEnded():
            _source_ended(draft, report)
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")


def _sources_found(draft: Draft, report: SourcesFound) -> None:
    """Changes nothing if the prompt does not wait any more, or a source is not what the report says any more."""
    prompt = draft.state.prompt(report.batch_id, report.prompt)
    if prompt is None or not _waits(draft, prompt) or not all(_is_so(draft, load) for load in report.loads):
        return
    if [(load.at, load.source) for load in prompt.loads] == [(load.at, load.source) for load in report.loads]:
        draft.emit(SourcesFixed(report.batch_id, report.prompt, report.loads))


def _waits(draft: Draft, prompt: PromptRow) -> bool:
    """A prompt of a held batch waits for the person first, and then looks again."""
    is_held = bool(draft.state.the_batch(prompt.batch_id).held)
    return prompt.state == "queued" and prompt.lacks_sources and not is_held


def _is_so(draft: Draft, load: LoadedFile) -> bool:
    if load.source is None:
        return bool(load.sha256)
    image = draft.state.image(load.source.batch_id, load.source.image)
    return image is not None and has_bytes(image) and image.sha256 == load.sha256


def _source_ended(draft: Draft, report: SourceEnded) -> None:
    """Fail the images of a prompt that still waits for an image that has come to its end."""
    prompt = draft.state.prompt(report.batch_id, report.prompt)
    source = draft.state.image(report.source.batch_id, report.source.image)
    if prompt is None or not _waits(draft, prompt) or not has_ended(source):
        return
    waiting = tuple(
        index
        for index in prompt.images
        if (image := draft.state.image(prompt.batch_id, index)) is not None and image.state == "pending"
    )
    if waiting:
        digest = report.words.digest
        draft.emit(ImageFailed(prompt.batch_id, waiting, (prompt.index,), INPUT_FAILED, digest))
        draft.settle(prompt.batch_id)
