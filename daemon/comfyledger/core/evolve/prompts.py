"""What a prompt's events make of the rows: how far it has come at ComfyUI, what its failures do to its batch."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from comfyledger.core.events import (
    FilesTaken,
    FilesWaiting,
    ImageAdded,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptMoved,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
    StrayEnded,
)
from comfyledger.core.evolve.recovery import series_renumbered
from comfyledger.core.evolve.transitions import moved, waits
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow, PromptState, Row, Slice, Stray, Upload

FAILING_ALIKE: Final = 3
"""A batch is held if this many first prompts all fail with one code."""


def prompt_submitting(state: Slice, event: PromptSubmitting) -> tuple[Row, ...]:
    prompt = state.the_prompt(event.batch_id, event.prompt)
    begun = replace(
        prompt,
        backend=event.backend,
        state="submitting",
        attempt=event.attempt,
        prompt_id=event.prompt_id,
        files=(),
        waiting=() if event.choice_over else prompt.waiting,
        outputs=event.outputs,
        left_out=event.left_out,
        server=event.server,
    )
    return (begun,)


def prompt_accepted(state: Slice, event: PromptAccepted) -> tuple[Row, ...]:
    return (replace(state.the_prompt(event.batch_id, event.prompt), state="accepted"),)


def prompt_finished(state: Slice, event: PromptFinished) -> tuple[Row, ...]:
    batch, prompt = state.the_batch(event.batch_id), state.the_prompt(event.batch_id, event.prompt)
    to: PromptState = "finished" if _wanted(state, prompt) else "done"
    after = replace(prompt, state=to, files=event.files, strikes=0, code=event.code, words=event.words)
    return (after, batch if event.code else replace(batch, succeeded=batch.succeeded + 1))


def files_waiting(state: Slice, event: FilesWaiting) -> tuple[Row, ...]:
    """The images are parked. Their prompt does nothing more until a person chooses."""
    batch, prompt = state.the_batch(event.batch_id), state.the_prompt(event.batch_id, event.prompt)
    before = [state.the_image(event.batch_id, index) for index in event.images]
    after = [replace(image, state="parked", code="wrong_count", words=event.words) for image in before]
    return (*after, replace(prompt, state="done", waiting=event.files), moved(batch, before, "parked"))


def files_taken(state: Slice, event: FilesTaken) -> tuple[Row, ...]:
    """The images wait for the files that were chosen, which lie in the spool."""
    batch, prompt = state.the_batch(event.batch_id), state.the_prompt(event.batch_id, event.prompt)
    before = [state.the_image(event.batch_id, index) for index in event.images]
    after = [replace(image, state="pending", code="", words=None) for image in before]
    files = tuple(prompt.files[place - 1] for place in event.files)
    lying = {file.image: file for file in prompt.waiting}
    waiting = tuple(lying[place] for place in event.files)
    batch = replace(moved(batch, before, "pending"), settled=False, cancelled=False)
    return (*after, replace(prompt, state="finished", files=files, waiting=waiting), batch)


def image_added(state: Slice, event: ImageAdded) -> tuple[Row, ...]:
    """The new image waits for a choice like the other images of its prompt, and is owed to the same stores."""
    batch, prompt = state.the_batch(event.batch_id), state.the_prompt(event.batch_id, event.prompt)
    fellow = fellow_of(state, prompt, event.output)
    image = ImageRow(
        event.batch_id,
        event.image,
        event.number,
        event.folder,
        event.file,
        event.prompt,
        batch.user_key,
        state="parked",
        uploads=tuple(Upload(one.store, "dropped" if one.state == "dropped" else "owed") for one in fellow.uploads),
        code="wrong_count",
        output=event.output,
        medium=fellow.medium,
    )
    more = replace(batch, parked=batch.parked + 1, added=batch.added + 1)
    return (image, replace(prompt, images=(*prompt.images, event.image)), more, series_renumbered(state, event))


def fellow_of(state: Slice, prompt: PromptRow, output: int) -> ImageRow:
    """The first image of an output among those of a prompt, which has one."""
    rows = (state.the_image(prompt.batch_id, index) for index in prompt.images)
    return next(row for row in rows if row.output == output)


def prompt_refused(state: Slice, event: PromptRefused) -> tuple[Row, ...]:
    prompt = state.the_prompt(event.batch_id, event.prompt)
    if event.again:
        return (replace(prompt, state="queued", refused_by=(*prompt.refused_by, prompt.backend)),)
    return (replace(prompt, state="done", code=event.code, words=event.words),)


def prompt_failed(state: Slice, event: PromptFailed) -> tuple[Row, ...]:
    batch, prompt = state.the_batch(event.batch_id), state.the_prompt(event.batch_id, event.prompt)
    return (_failed(prompt, event), _counting_failure(batch, event.code))


def prompt_lost(state: Slice, event: PromptLost) -> tuple[Row, ...]:
    prompt = state.the_prompt(event.batch_id, event.prompt)
    return (replace(prompt, state="queued", strikes=prompt.strikes + event.running),)


def prompt_removed(state: Slice, event: PromptRemoved) -> tuple[Row, ...]:
    prompt = state.the_prompt(event.batch_id, event.prompt)
    return (replace(prompt, state="queued" if _wanted(state, prompt) else "done"),)


def prompt_moved(state: Slice, event: PromptMoved) -> tuple[Row, ...]:
    """A prompt that was running when its backend went away may be the reason, so that counts as a strike."""
    prompt = state.the_prompt(event.batch_id, event.prompt)
    left = Stray(prompt.attempt, prompt.backend, prompt.prompt_id, prompt.outputs, prompt.left_out, prompt.server)
    queued = replace(prompt, state="queued", strikes=prompt.strikes + event.running, files=(), code="", words=None)
    return (replace(queued, strays=(*prompt.strays, left)),)


def stray_ended(state: Slice, event: StrayEnded) -> tuple[Row, ...]:
    """If its files are used, it is the attempt of its prompt again. Its successors keep their numbers."""
    prompt = state.the_prompt(event.batch_id, event.prompt)
    left = tuple(one for one in prompt.strays if one.attempt != event.attempt)
    if event.outcome != "used":
        return (replace(prompt, strays=left),)
    batch = state.the_batch(event.batch_id)
    used = replace(prompt.as_attempt(event.attempt), begun=prompt.next_attempt - 1, strays=left)
    finished = replace(used, state="finished", files=event.files, strikes=0, code="", words=None)
    return (finished, replace(batch, succeeded=batch.succeeded + 1))


def _wanted(state: Slice, prompt: PromptRow) -> bool:
    """Whether an image waits for the prompt; `retry` may want one again while its prompt is being cancelled."""
    return any(waits(state.image(prompt.batch_id, index)) for index in prompt.images)


def _failed(prompt: PromptRow, event: PromptFailed) -> PromptRow:
    return replace(
        prompt,
        state="queued" if event.again else "done",
        failures=prompt.failures + 1,
        code=event.code,
        words=event.words,
        files=(),
        waiting=(),
    )


def _counting_failure(batch: BatchRow, code: str) -> BatchRow:
    """Only what fails before the first success can hold a batch."""
    if batch.succeeded or len(batch.failures) >= FAILING_ALIKE:
        return batch
    return replace(batch, failures=(*batch.failures, code))
