"""How the rows of a batch, its images and its prompts hang together when images move from one state to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from comfyledger.core.rows import BatchRow, ImageRow, ImageState, PromptRow, Slice

COUNT: Final[dict[ImageState, str]] = {
    "pending": "pending",
    "kept": "kept",
    "stored": "stored",
    "parked": "parked",
    "failed": "failed",
    "cancelled": "images_cancelled",
    "forgetting": "forgotten",
    "forgotten": "forgotten",
}
"""Where the batch counts its images of each state."""


def moved(batch: BatchRow, images: Sequence[ImageRow], to: ImageState) -> BatchRow:
    """The batch after its images went from the state that they have to another one.

    The moves of every image are written out, which takes half the time.
    """
    if len(images) == 1:
        before = images[0].state
        if before == "pending" and to == "kept":
            return replace(batch, pending=batch.pending - 1, kept=batch.kept + 1)
        if before == "kept" and to == "stored":
            return replace(batch, kept=batch.kept - 1, stored=batch.stored + 1)
    counts: dict[str, int] = {}
    for image in images:
        for name, change in ((COUNT[image.state], -1), (COUNT[to], 1)):
            counts[name] = counts.get(name, getattr(batch, name)) + change
    return replace(batch, **counts) if counts else batch


def waits(image: ImageRow | None) -> bool:
    return image is not None and image.state == "pending"


def left_alone(state: Slice, batch_id: str, ended: Iterable[ImageRow], *, choice_over: bool = False) -> list[PromptRow]:
    """The prompts of images that come to an end unrendered, where nothing is left that waits for them.

    `choice_over`: files that were chosen and not taken yet go, because they are of no use to a later attempt.
    """
    indexes = {image.index for image in ended}
    touched = {image.prompt for image in ended}
    waiting = {row.index for row in state.images(batch_id) if waits(row)} - indexes
    return [
        _unwanted(prompt, choice_over=choice_over)
        for prompt in state.prompts(batch_id)
        if prompt.index in touched and waiting.isdisjoint(prompt.images)
    ]


def _unwanted(prompt: PromptRow, *, choice_over: bool) -> PromptRow:
    """A prompt of which no image is wanted: taken out of ComfyUI if it may be there."""
    if prompt.at_comfyui:
        return replace(prompt, state="cancelling")
    waiting = () if choice_over and prompt.state == "finished" else prompt.waiting
    return replace(prompt, state="done", waiting=waiting)


def renewed(prompt: PromptRow) -> PromptRow:
    """A prompt with its budget renewed. If it is running for other images, it continues, because its files will do. A
    suspect remains one until it has finished, so that a retry puts no other prompt at risk.
    """
    state = "queued" if prompt.state == "done" else prompt.state
    return replace(prompt, state=state, failures=0, strikes=min(prompt.strikes, 1), code="", words=None, refused_by=())
