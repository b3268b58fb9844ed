"""What a person makes of a run that gave more files than images: the first of them, the last, or all of them.

A choice holds for every output of the run that gave more, each for itself.
"""

from __future__ import annotations

from comfyledger.core.commands import RetryBatch
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import FilesTaken, ImageAdded
from comfyledger.core.evolve.prompts import fellow_of
from comfyledger.core.naming.names import name_after
from comfyledger.core.output_files import OutputFiles, by_output
from comfyledger.core.results import Changed
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import NUMBER_MAX, Take
from comfyledger.errors import Refused


def take_files(draft: Draft, command: RetryBatch, chosen: list[ImageRow]) -> Changed:
    """Give files to the images that wait for a choice: to all of a prompt, because its run is taken up once.

    Raises Refused(nothing_to_do), and Refused(quantity_out_of_range) if no number is left.
    """
    batch = draft.state.the_batch(command.batch_id)
    lacking = {output.series for output in batch.every_output}.difference(command.series)
    if command.take == "all" and lacking:
        text = f"The naming templates no longer give the series of this batch: {min(lacking)[:200]!r}."
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
    rows = _rows(draft, prompt)
    outputs = {row.output for row in rows if row.awaits_choice}
    if command.take == "all":
        for one in by_output(rows, prompt.files):
            if one.output in outputs:
                _add_images(draft, prompt, one, command)
    prompt = draft.state.the_prompt(prompt.batch_id, prompt.index)
    rows = _rows(draft, prompt)
    images = tuple(row.index for row in rows if row.awaits_choice)
    take: Take = command.take or "first"
    chosen = [_chosen(take, one) for one in by_output(rows, prompt.files) if one.output in outputs]
    places = tuple(place for places in chosen for place in places)
    draft.emit(FilesTaken(prompt.batch_id, prompt.index, images, places, take, by=command.label))
    return len(images)


def _rows(draft: Draft, prompt: PromptRow) -> list[ImageRow]:
    return [draft.state.the_image(prompt.batch_id, index) for index in prompt.images]


def _add_images(draft: Draft, prompt: PromptRow, output: OutputFiles, command: RetryBatch) -> None:
    """An image for each file beyond those that were asked for, in the series of its output.

    Raises Refused(quantity_out_of_range).
    """
    fellow = fellow_of(draft.state, prompt, output.output)
    series = draft.state.the_batch(prompt.batch_id).every_output[output.output - 1].series
    more = len(output.places) - len(output.images)
    if draft.state.the_series(series).next + more > NUMBER_MAX + 1:
        raise Refused("quantity_out_of_range", f"Too few numbers are left: the highest is {NUMBER_MAX}.")
    for _ in range(more):
        number = draft.state.the_series(series).next
        name = name_after(fellow.folder, fellow.file, number)
        index = draft.state.the_batch(prompt.batch_id).images + 1
        about = (prompt.batch_id, prompt.index, series, index, number, name.folder, name.file)
        draft.emit(ImageAdded(*about, by=command.label, output=output.output))


def _chosen(take: Take, output: OutputFiles) -> tuple[int, ...]:
    """The places of the files that are taken, one for each image of the output."""
    count = len(output.images)
    return output.places[-count:] if take == "last" else output.places[:count]
