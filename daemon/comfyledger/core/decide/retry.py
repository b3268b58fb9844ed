"""What `retry` means: images are tried again under their own numbers, and with them what failed because they did."""

from __future__ import annotations

from comfyledger.core.commands import FailedSources, RetryBatch
from comfyledger.core.decide.commands import batch_or_refuse, chosen_images, left_as_they_are
from comfyledger.core.decide.files import take_files
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import BatchReopened
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.results import Changed
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import ImageAt
from comfyledger.errors import Refused


def retry_batch(draft: Draft, command: RetryBatch) -> Changed:
    """Retry exactly what failed, was parked or is held, and the failed images that it is made from. Attempts continue
    to count, budgets are renewed.

    The answer counts the images, and those of the same label that are tried again with them.

    Raises Refused(nothing_to_do) if there is no such image, and Refused(take_missing) if a person must first choose
    files: another attempt would replace those that wait.
    """
    batch = batch_or_refuse(draft, command.batch_id)
    chosen = chosen_images(draft, batch, command.images)
    if command.take is not None:
        return take_files(draft, command, chosen)
    undecided = {image.prompt for image in draft.state.images(batch.batch_id) if image.awaits_choice}
    failed = [image for image in chosen if image.state == "failed" and image.prompt not in undecided]
    parked = [image for image in chosen if _is_parked(image)]
    if not failed and not parked and not batch.held:
        if any(image.awaits_choice or image.state == "failed" for image in chosen):
            raise Refused("take_missing", hint=f"`comfyledger retry {batch.batch_id} --take first`, or last, or all.")
        raise Refused(
            "nothing_to_do",
            "Nothing in this batch failed, was parked or is held.",
            hint=f"`comfyledger images --batch {batch.batch_id}` shows the state of each image.",
        )
    sources = {place for one in command.sources for place in _retry_sources(draft, command, one)}
    render = tuple(sorted({image.prompt for image in failed}))
    draft.emit(
        BatchReopened(
            batch.batch_id,
            by=command.label,
            render=render,
            images=tuple(image.index for image in failed),
            upload=tuple(image.index for image in parked),
        )
    )
    again = sources | {ImageAt(batch.batch_id, image.index) for image in failed}
    also = _take_up_what_is_made_from(draft, command, again)
    others = [place.batch_id for place in sources] + [event.batch_id for event in also for _ in event.images]
    mine = [batch_id for batch_id in others if draft.state.the_batch(batch_id).label == batch.label]
    return Changed(len(failed) + len(parked) + len(mine), left_as_they_are(chosen, failed + parked))


def _retry_sources(draft: Draft, command: RetryBatch, sources: FailedSources) -> list[ImageAt]:
    """Try images again without which others cannot be made, as far as they failed."""
    rows = (draft.state.image(sources.batch_id, index) for index in sources.images)
    undecided = {row.prompt for row in draft.state.images(sources.batch_id) if row.awaits_choice}
    failed = [row for row in rows if row is not None and row.state == "failed" and row.prompt not in undecided]
    if failed:
        render, images = sorted({row.prompt for row in failed}), sorted(row.index for row in failed)
        draft.emit(BatchReopened(sources.batch_id, by=command.label, render=tuple(render), images=tuple(images)))
    return [ImageAt(row.batch_id, row.index) for row in failed]


def _is_parked(image: ImageRow) -> bool:
    """A store refused it, or no store has it because all of them were given up."""
    if image.is_forgotten or image.awaits_choice:
        return False
    return image.state == "parked" or any(upload.state == "parked" for upload in image.uploads)


def _take_up_what_is_made_from(draft: Draft, command: RetryBatch, again: set[ImageAt]) -> list[BatchReopened]:
    """Try again what failed because images could not be had that are tried `again` now, level by level. Returns the
    events. A batch that somebody cancelled stays as it is.
    """
    known = (draft.state.prompt(one.batch_id, index) for one in command.also for index in one.prompts)
    prompts = sorted((prompt for prompt in known if prompt is not None), key=lambda prompt: prompt.depth)
    taken: dict[str, list[PromptRow]] = {}
    sources: dict[str, ImageAt] = {}
    for prompt in prompts:
        source = next((load.source for load in prompt.loads if load.source in again), None)
        images = _lacking_an_input(draft, prompt)
        if source is not None and images and not draft.state.the_batch(prompt.batch_id).cancelled:
            again |= {ImageAt(prompt.batch_id, index) for index in images}
            taken.setdefault(prompt.batch_id, []).append(prompt)
            sources.setdefault(prompt.batch_id, source)
    events = []
    for batch_id, of_batch in taken.items():
        images = tuple(sorted(index for prompt in of_batch for index in _lacking_an_input(draft, prompt)))
        render = tuple(sorted(prompt.index for prompt in of_batch))
        events.append(BatchReopened(batch_id, by=command.label, render=render, images=images, source=sources[batch_id]))
    for event in events:
        draft.emit(event)
    return events


def _lacking_an_input(draft: Draft, prompt: PromptRow) -> tuple[int, ...]:
    """The images of a prompt that failed because something that it loads could not be had; none while a person must
    choose among files of the prompt.
    """
    rows = [draft.state.the_image(prompt.batch_id, index) for index in prompt.images]
    if any(row.awaits_choice for row in rows):
        return ()
    return tuple(row.index for row in rows if (row.state, row.code) == ("failed", INPUT_FAILED))
