"""What a person makes of a run that gave more files than images: the first of them, the last, or all of them."""

from __future__ import annotations

from comfyledger.core.commands import RetryBatch
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import FilesTaken, ImageAdded
from comfyledger.core.naming.names import name_after
from comfyledger.core.results import Changed
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import NUMBER_MAX, Take
from comfyledger.errors import Refused


def take_files(draft: Draft, command: RetryBatch, chosen: list[ImageRow]) -> Changed:
    """Give files to the images that wait for a choice: to all of a prompt, because its files have one order.

    Raises Refused(nothing_to_do), and Refused(quantity_out_of_range) if no number is left.
    """
    batch = draft.state.the_batch(command.batch_id)
    if command.take == "all" and batch.series != command.series:
        text = f"The batch has its numbers in another series than {command.series[:200]!r}."
        hint = "Set the templates in [naming] back to what they were when the batch was accepted."
        raise Refused("nothing_to_do", text, hint=hint)
    prompts = sorted({image.prompt for image in chosen if image.awaits_choice})
    if not prompts or command.take is None:
        raise Refused(
            "nothing_to_do",
            "No run of this batch gave more files than images.",
            hint=f"`comfyledger images --batch {batch.batch_id}` shows the state of each image.",
        )
    taken = sum(_take(draft, draft.state.the_prompt(command.batch_id, index), command) for index in prompts)
    left: dict[str, int] = {}
    for image in chosen:
        if image.prompt not in prompts:
            left[image.state] = left.get(image.state, 0) + 1
    return Changed(taken, left)


def _take(draft: Draft, prompt: PromptRow, command: RetryBatch) -> int:
    if command.take == "all":
        _add_images(draft, prompt, command)
    prompt = draft.state.the_prompt(prompt.batch_id, prompt.index)
    rows = (draft.state.image(prompt.batch_id, index) for index in prompt.images)
    images = tuple(row.index for row in rows if row is not None and row.awaits_choice)
    take: Take = command.take or "first"
    files = _places(take, len(prompt.waiting), len(prompt.images))
    draft.emit(FilesTaken(prompt.batch_id, prompt.index, images, files, take, by=command.label))
    return len(images)


def _add_images(draft: Draft, prompt: PromptRow, command: RetryBatch) -> None:
    """An image for each file beyond those that were asked for. Raises Refused(quantity_out_of_range)."""
    fellow = draft.state.the_image(prompt.batch_id, prompt.images[0])
    more = len(prompt.waiting) - len(prompt.images)
    if draft.state.the_series(command.series).next + more > NUMBER_MAX + 1:
        raise Refused("quantity_out_of_range", f"The series has no number left below {NUMBER_MAX}.")
    for _ in range(more):
        number = draft.state.the_series(command.series).next
        name = name_after(fellow.folder, fellow.file, number)
        index = draft.state.the_batch(prompt.batch_id).images + 1
        about = (prompt.batch_id, prompt.index, command.series, index, number, name.folder, name.file)
        draft.emit(ImageAdded(*about, by=command.label))


def _places(take: Take, files: int, images: int) -> tuple[int, ...]:
    """The places of the files that are taken, one for each image of the prompt."""
    first = files - images + 1 if take == "last" else 1
    return tuple(range(first, first + images))
