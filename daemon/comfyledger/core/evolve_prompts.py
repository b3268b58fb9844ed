"""What a prompt's events make of the rows: how far it has come at ComfyUI, what its failures do to its batch."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from comfyledger.core.events import (
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
)
from comfyledger.core.moving import waits
from comfyledger.core.slices import BatchRow, PromptRow, PromptState, Row, Slice

FAILING_ALIKE: Final = 3
"""So many first prompts that all fail with one code hold their batch."""


def prompt_submitting(state: Slice, event: PromptSubmitting) -> tuple[Row, ...]:
    prompt = state.the_prompt(event.batch_id, event.prompt)
    return (replace(prompt, state="submitting", attempt=event.attempt, prompt_id=event.prompt_id, files=()),)


def prompt_accepted(state: Slice, event: PromptAccepted) -> tuple[Row, ...]:
    return (replace(state.the_prompt(event.batch_id, event.prompt), state="accepted"),)


def prompt_finished(state: Slice, event: PromptFinished) -> tuple[Row, ...]:
    batch, prompt = state.the_batch(event.batch_id), state.the_prompt(event.batch_id, event.prompt)
    to: PromptState = "finished" if _wanted(state, prompt) else "done"
    after = replace(prompt, state=to, files=event.files, strikes=0, code="", words=None)
    return (after, replace(batch, succeeded=batch.succeeded + 1))


def prompt_refused(state: Slice, event: PromptRefused) -> tuple[Row, ...]:
    prompt = state.the_prompt(event.batch_id, event.prompt)
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
    )


def _counting_failure(batch: BatchRow, code: str) -> BatchRow:
    """Only what fails before the first success can hold a batch."""
    if batch.succeeded or len(batch.failures) >= FAILING_ALIKE:
        return batch
    return replace(batch, failures=(*batch.failures, code))
