"""What becomes of a whole batch: requested, held, cancelled, settled, reopened; and of images that end unrendered."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.events import (
    BatchCancelled,
    BatchHeld,
    BatchPrioritized,
    BatchReopened,
    BatchRequested,
    BatchResumed,
    BatchSettled,
    ImageCancelled,
    ImageFailed,
    Recorded,
)
from comfyledger.core.evolve.inputs import INPUT_FAILED, without_sources
from comfyledger.core.evolve.transitions import left_alone, moved, renewed
from comfyledger.core.rows import (
    BatchRow,
    ImageRow,
    ImageState,
    PromptRow,
    RequestRow,
    Row,
    SeriesRow,
    Slice,
    Upload,
)
from comfyledger.core.values import OutputNamed, output_nodes


def batch_requested(state: Slice, event: BatchRequested, recorded: Recorded) -> tuple[Row, ...]:
    batch = BatchRow(
        batch_id=event.batch_id,
        label=event.label,
        request_id=event.request_id,
        username=event.username,
        user_key=event.user_key,
        character=event.character,
        premade=event.premade,
        series=event.series,
        workflow=event.workflow,
        priority=event.priority,
        template=event.template,
        plan=event.plan,
        stores=event.stores,
        prompts=len(event.prompts),
        position=recorded.position,
        at_ms=recorded.at_ms,
        metadata=event.metadata,
        pending=len(event.images),
        origin=event.origin,
        loads_files=any(prompt.loads for prompt in event.prompts),
        needs=event.needs,
        backend=event.backend,
        outputs=() if _has_one_usual_output(event) else event.outputs,
        webhook=event.webhook,
        webhook_url=event.webhook_url,
    )
    uploads = tuple(Upload(store.name) for store in event.stores)
    images = (
        ImageRow(
            event.batch_id,
            image.index,
            image.number,
            image.folder,
            image.file,
            image.prompt,
            event.user_key,
            uploads=uploads,
            output=image.output,
            medium=event.outputs[image.output - 1].medium,
        )
        for image in event.images
    )
    prompts = (
        PromptRow(
            event.batch_id,
            prompt.index,
            prompt.images,
            prompt.seed,
            inputs=prompt.inputs,
            loads=prompt.loads,
            depth=prompt.depth,
            models=prompt.models,
        )
        for prompt in event.prompts
    )
    request = RequestRow(event.label, event.request_id, event.request_digest, event.batch_id)
    return (*series_used(state, event), request, batch, *images, *prompts)


def _has_one_usual_output(event: BatchRequested) -> bool:
    """Whether its outputs are those of a row that names none: see `BatchRow.every_output`."""
    return event.outputs == (OutputNamed(output_nodes(event.plan)[0], "image", event.series),)


def series_used(state: Slice, event: BatchRequested) -> tuple[Row, ...]:
    """Each series of the batch, with the number after the highest that it gave here."""
    last = {event.outputs[image.output - 1].series: image for image in event.images}
    rows = ((key, state.series(key), image) for key, image in last.items())
    return tuple(SeriesRow(key, row.folder if row else image.folder, image.number + 1) for key, row, image in rows)


def batch_changed(
    state: Slice,
    event: BatchHeld | BatchResumed | BatchPrioritized | BatchCancelled | BatchSettled | BatchReopened,
) -> tuple[Row, ...]:
    batch = state.the_batch(event.batch_id)
    match event:
        case BatchHeld(reason=reason, words=words):
            return (replace(batch, held=reason, held_words=words),)
        case BatchResumed():
            return (replace(batch, held="", held_words=None, failures=()),)
        case BatchPrioritized(priority=priority):
            return (replace(batch, priority=priority),)
        case BatchCancelled():
            return (replace(batch, cancelled=True, held="", held_words=None),)
        case BatchSettled():
            return (replace(batch, settled=True, held="", held_words=None),)
        case BatchReopened():
            return _reopened(state, batch, event)


def _reopened(state: Slice, batch: BatchRow, event: BatchReopened) -> tuple[Row, ...]:
    render = [state.the_image(batch.batch_id, index) for index in event.images]
    upload = [state.the_image(batch.batch_id, index) for index in event.upload]
    lacking = {image.prompt for image in render if image.code == INPUT_FAILED}
    prompts = [_again(state.the_prompt(batch.batch_id, index), lacking) for index in event.render]
    pending = [replace(image, state="pending", code="", words=None) for image in render]
    kept = [replace(image, state="kept", code="", words=None, uploads=_owed_again(image.uploads)) for image in upload]
    batch = moved(moved(batch, render, "pending"), upload, "kept")
    batch = replace(batch, settled=False, cancelled=False)
    if event.source is None:
        batch = replace(batch, held="", held_words=None, failures=())
    return (batch, *pending, *kept, *prompts)


def _again(prompt: PromptRow, lacking: set[int]) -> PromptRow:
    """If a source could not be had, it is looked for anew, unless an attempt uses what it has. `lacking`: the prompts
    of which that is so, by index.
    """
    again = renewed(prompt)
    return without_sources(again) if prompt.index in lacking and again.state == "queued" else again


def _owed_again(uploads: tuple[Upload, ...]) -> tuple[Upload, ...]:
    """The uploads to try again: the parked ones or, if every store was given up, all of these."""
    again = "parked" if any(upload.state == "parked" for upload in uploads) else "dropped"
    return tuple(
        replace(upload, state="owed", code="", words=None) if upload.state == again else upload for upload in uploads
    )


def images_ended(state: Slice, event: ImageFailed | ImageCancelled) -> tuple[Row, ...]:
    """Images that come to an end unrendered, and the prompts that nothing is left of."""
    batch_id, ended = event.batch_id, frozenset(event.images)
    to: ImageState
    over = False
    match event:
        case ImageFailed():
            to, code, words = "failed", event.code, event.words
        case ImageCancelled():
            to, code, words, over = "cancelled", "cancelled", None, event.choice_over
    before = [image for image in state.images(batch_id) if image.index in ended]
    after = [replace(image, state=to, code=code, words=words) for image in before]
    prompts = left_alone(state, batch_id, before, choice_over=over)
    return (*after, *prompts, moved(state.the_batch(batch_id), before, to))
