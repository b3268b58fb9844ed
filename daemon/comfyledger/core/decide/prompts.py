"""What reports on prompts mean: how far an attempt has come at ComfyUI, how it ended, and what became of its files.

A report that does not fit the state changes nothing; which report fits which state is said in one place, `_FITS`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.decide.strays import UNREACHABLE, left_behind, stray_report
from comfyledger.core.events import (
    BatchHeld,
    FilesWaiting,
    ImageFailed,
    ImageKept,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
)
from comfyledger.core.evolve.prompts import FAILING_ALIKE
from comfyledger.core.media import medium_of
from comfyledger.core.output_files import OutputFiles, by_output
from comfyledger.core.reports import (
    FilesKept,
    FilesLaidBy,
    PromptDoesNotFit,
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptIsLeft,
    PromptReport,
    PromptWasAccepted,
    PromptWasInterrupted,
    PromptWasRefused,
    SubmitIntended,
)
from comfyledger.core.results import Taken, Wanted
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.values import Blob, backend_lane, prompt_uuid

_AT_COMFYUI: Final = frozenset({"submitting", "accepted", "cancelling"})
_FITS: Final[dict[type[PromptReport], frozenset[str]]] = {
    SubmitIntended: frozenset({"queued", "submitting"}),
    PromptDoesNotFit: frozenset({"queued"}),
    PromptWasAccepted: frozenset({"submitting"}),
    PromptWasRefused: frozenset({"submitting", "cancelling"}),
    PromptHasFinished: _AT_COMFYUI,
    PromptHasFailed: _AT_COMFYUI | {"finished"},
    PromptWasInterrupted: _AT_COMFYUI,
    PromptIsGone: _AT_COMFYUI,
    PromptIsLeft: _AT_COMFYUI | {"finished"},
    FilesKept: frozenset({"finished"}),
    FilesLaidBy: frozenset({"finished"}),
}


def prompt_report(draft: Draft, report: PromptReport, policy: Policy) -> msgspec.Struct | None:
    prompt = draft.state.prompt(report.batch_id, report.prompt)
    if prompt is not None and (stray := prompt.stray(report.attempt)) is not None:
        return stray_report(draft, prompt, stray, report) or _nothing(report)
    if prompt is None or not _fits(prompt, report):
        return _nothing(report)
    match report:
        case SubmitIntended():
            return _submit_intended(draft, prompt, report)
        case PromptHasFinished():
            return _finished(draft, prompt, report)
        case FilesKept():
            return _files_kept(draft, prompt, report, policy)
        case FilesLaidBy():
            return _files_laid_by(draft, prompt, report)
        case PromptIsLeft() if prompt.state == "cancelling":
            if report.reason in UNREACHABLE:  # nobody can be asked to stop it, and nobody wants its files
                _taken_out(draft, prompt, "removed")
            return Wanted(go=False)
        case PromptIsLeft():
            return left_behind(draft, prompt, report, policy)
        case _:
            _prompt_news(draft, prompt, report, policy)
            return None


def _prompt_news(draft: Draft, prompt: PromptRow, report: PromptReport, policy: Policy) -> None:
    match report:
        case PromptDoesNotFit():
            _hold_unfit(draft, prompt, report)
        case PromptWasAccepted():
            _accepted(draft, prompt, report)
        case PromptWasRefused():
            _refused(draft, prompt, report)
        case PromptHasFailed(code=code, final=final):
            _failed(draft, prompt, code, _digest(report.words), again=not final and _may_fail_again(prompt, policy))
        case PromptWasInterrupted():
            _taken_out(draft, prompt, "interrupted")
        case PromptIsGone(restarted=True) if prompt.state != "cancelling":
            _lost(draft, prompt, report, policy)
        case _:
            _taken_out(draft, prompt, "removed")


def _fits(prompt: PromptRow, report: PromptReport) -> bool:
    if prompt.state not in _FITS[type(report)]:
        return False
    begins = isinstance(report, SubmitIntended | PromptDoesNotFit) and prompt.state == "queued"
    return report.attempt == (prompt.next_attempt if begins else prompt.attempt)


def _nothing(report: PromptReport) -> msgspec.Struct | None:
    """The answer to a report that fits nothing, where a worker waits for one."""
    match report:
        case SubmitIntended() | PromptHasFinished() | PromptIsLeft():
            return Wanted(go=False)
        case FilesKept() | FilesLaidBy():
            return Taken(())
        case _:
            return None


def _digest(words: Blob | None) -> str | None:
    return words.digest if words else None


def _may_fail_again(prompt: PromptRow, policy: Policy) -> bool:
    """Whether another attempt follows if this one fails."""
    return prompt.failures + 1 < policy.render_attempts_max


def _submit_intended(draft: Draft, prompt: PromptRow, report: SubmitIntended) -> Wanted:
    batch = draft.state.batch(report.batch_id)
    if batch is None or not _may_begin(draft, batch, prompt, report.backend):
        return Wanted(go=False)
    if prompt.state == "queued":
        wire_id = prompt_uuid(report.batch_id, report.prompt, report.attempt)
        about = (report.batch_id, report.prompt, report.attempt, wire_id, report.backend)
        over = bool(prompt.waiting) and not awaits_choice(draft, prompt)
        seen = (report.version, report.left_out)
        draft.emit(PromptSubmitting(*about, _asked_for(draft, prompt), over, *seen, report.server))
    return Wanted(go=True, attempt=report.attempt)


def _may_begin(draft: Draft, batch: BatchRow, prompt: PromptRow, backend: str) -> bool:
    """Whether an attempt may go to a backend: one that was begun where it was; a new one unless the batch is held, a
    source is lacking, or a person has paused the backend meanwhile.
    """
    if prompt.state != "queued":
        return prompt.backend == backend
    is_paused = draft.state.lane(backend_lane(backend)).person
    return not batch.held and not prompt.lacks_sources and not is_paused and batch.backend in {"", backend}


def awaits_choice(draft: Draft, prompt: PromptRow) -> bool:
    """Whether a person must choose among files of the prompt, or has chosen and they are being taken.

    A prompt of an earlier ledger may still name files that were chosen for images which were then cancelled.
    """
    return bool(prompt.waiting) and (
        prompt.state == "finished" or any(image.awaits_choice for image in _images(draft, prompt))
    )


def _asked_for(draft: Draft, prompt: PromptRow) -> tuple[int, ...]:
    """The outputs of which an image waits; empty for all that the prompt has."""
    waiting = {image.output for image in _pending(draft, prompt)}
    every = {image.output for image in _images(draft, prompt)}
    return () if waiting == every else tuple(sorted(waiting))


def _images(draft: Draft, prompt: PromptRow) -> list[ImageRow]:
    rows = (draft.state.image(prompt.batch_id, index) for index in prompt.images)
    return [row for row in rows if row is not None]


def _pending(draft: Draft, prompt: PromptRow) -> list[ImageRow]:
    return [row for row in _images(draft, prompt) if row.state == "pending"]


def _hold_unfit(draft: Draft, prompt: PromptRow, report: PromptDoesNotFit) -> None:
    """A person installs what is missing and continues the batch, or cancels it. No attempt is used up."""
    batch = draft.state.the_batch(prompt.batch_id)
    if not batch.held:
        words = report.words.digest if _is_remembered(draft, prompt) else None
        draft.emit(BatchHeld(batch.batch_id, reason="unfit", images=prompt.images, words=words))


def _accepted(draft: Draft, prompt: PromptRow, report: PromptWasAccepted) -> None:
    """The images of outputs that ComfyUI will not run fail at once. Another attempt would be answered alike."""
    draft.emit(PromptAccepted(report.batch_id, report.prompt, report.attempt))
    if never := [image for image in _pending(draft, prompt) if image.output in report.refused]:
        _fail_images(draft, prompt.batch_id, never, report.code, _digest(report.words))


def _refused(draft: Draft, prompt: PromptRow, report: PromptWasRefused) -> None:
    """A graph that no backend takes fails all of its batch that ComfyUI has not accepted: the others would be refused
    alike. Each backend is tried once.

    If only some outputs were asked for, images of others that wait in other prompts are not concerned.
    """
    digest = _digest(report.words) if _is_remembered(draft, prompt) else None
    others = set(report.elsewhere).difference(prompt.refused_by, (prompt.backend,))
    again = prompt.state == "submitting" and bool(others)
    draft.emit(PromptRefused(prompt.batch_id, prompt.index, prompt.attempt, report.code, digest, again))
    if again:
        return
    prompts = {
        other.index: other for other in draft.state.prompts(prompt.batch_id) if other.state in {"queued", "done"}
    }
    images = [
        image
        for image in draft.state.images(prompt.batch_id)
        if image.state == "pending" and image.prompt in prompts
        if image.prompt == prompt.index or _is_asked_for(prompt, image.output)
    ]
    _fail_images(draft, prompt.batch_id, images, report.code, digest)


def _is_remembered(draft: Draft, prompt: PromptRow) -> bool:
    """Whether texts about a prompt may be kept: not after all of its images were forgotten."""
    return any(not row.is_forgotten for row in _images(draft, prompt))


def _fail_images(draft: Draft, batch_id: str, images: list[ImageRow], code: str, words: str | None) -> None:
    if images:
        indexes = tuple(image.index for image in images)
        prompts = tuple(sorted({image.prompt for image in images}))
        draft.emit(ImageFailed(batch_id, indexes, prompts, code, words))
    draft.settle(batch_id)


def _finished(draft: Draft, prompt: PromptRow, report: PromptHasFinished) -> Wanted:
    """The graph decides how many files an output gives. None is thrown away, and the run is not repeated for more.

    The files of an output belong to its images in their order. Images beyond the last file fail. Of more files than
    images a person says which are taken. If the run failed, outputs without any file are rendered again once the files
    of the others are kept.
    """
    asked = [one for one in by_output(_images(draft, prompt), report.files) if _is_asked_for(prompt, one.output)]
    is_exact = all(len(one.places) == len(one.images) for one in asked)
    if not report.files or (prompt.state == "cancelling" and not is_exact):
        _failed(draft, prompt, "wrong_count", _digest(report.words), again=False)
        return Wanted(go=False)
    failure = (report.code, _digest(report.error)) if not all(one.places for one in asked) else ("", None)
    draft.emit(PromptFinished(prompt.batch_id, prompt.index, prompt.attempt, report.files, *failure))
    without = {index for one in asked if one.places or not report.code for index in one.without_file}
    missing = [image for image in _pending(draft, prompt) if image.index in without]
    _fail_images(draft, prompt.batch_id, missing, "wrong_count", _digest(report.words))
    after = draft.state.the_prompt(prompt.batch_id, prompt.index)
    return Wanted(go=after.state == "finished", attempt=prompt.attempt)


def _is_asked_for(prompt: PromptRow, output: int) -> bool:
    return not prompt.outputs or output in prompt.outputs


def _failed(draft: Draft, prompt: PromptRow, code: str, words: str | None, *, again: bool) -> None:
    """An attempt failed. `words`: a digest. `again`: another attempt may succeed, and is made."""
    if prompt.state == "cancelling":
        draft.emit(PromptRemoved(prompt.batch_id, prompt.index, prompt.attempt, by="cancel"))
        return
    draft.emit(PromptFailed(prompt.batch_id, prompt.index, prompt.attempt, code, again, words))
    if not again:
        _fail_images(draft, prompt.batch_id, _pending(draft, prompt), code, words)
    _hold_if_all_fail_alike(draft, prompt.batch_id)


def _lost(draft: Draft, prompt: PromptRow, report: PromptIsGone, policy: Policy) -> None:
    """Only a prompt that was seen running may have stopped ComfyUI. If it did so too often, its images fail."""
    draft.emit(PromptLost(prompt.batch_id, prompt.index, prompt.attempt, report.running))
    if report.running and prompt.strikes + 1 >= policy.poison_strikes_max:
        words = report.words.digest if report.words else None
        _fail_images(draft, prompt.batch_id, _pending(draft, prompt), "poison", words)


def _hold_if_all_fail_alike(draft: Draft, batch_id: str) -> None:
    """Many failures of one kind have one cause: a person decides before the GPU is kept busy with them."""
    batch = draft.state.batch(batch_id)
    if batch is None or batch.held or batch.settled or batch.prompts < FAILING_ALIKE:
        return
    if batch.pending and len(batch.failures) == FAILING_ALIKE and len(set(batch.failures)) == 1:
        draft.emit(BatchHeld(batch_id, reason="failing"))


def _taken_out(draft: Draft, prompt: PromptRow, reason: str) -> None:
    """A prompt left ComfyUI unfinished: we cancelled it, or a person removed it and the batch is held."""
    by_us = prompt.state == "cancelling"
    draft.emit(PromptRemoved(prompt.batch_id, prompt.index, prompt.attempt, by="cancel" if by_us else "foreign"))
    batch = draft.state.batch(prompt.batch_id)
    if not by_us and batch is not None and not batch.held:
        draft.emit(BatchHeld(prompt.batch_id, reason=reason))


def _files_kept(draft: Draft, prompt: PromptRow, report: FilesKept, policy: Policy) -> Taken:
    """Only images that still wait take a file. One that was cancelled or has its file takes none."""
    pending = {image.index: image for image in _pending(draft, prompt)}
    taken = []
    for file in report.files:
        image = pending.pop(file.image, None)
        if image is None:
            continue
        draft.emit(
            ImageKept(
                batch_id=prompt.batch_id,
                prompt=prompt.index,
                attempt=prompt.attempt,
                image=file.image,
                name=image.public_id,
                sha256=file.sha256,
                md5=file.md5,
                size_bytes=file.size_bytes,
                width=file.width,
                height=file.height,
                extension=file.extension,
                checked=file.checked,
                medium=medium_of(file.extension),
                box=policy.box,
            )
        )
        taken.append(file.image)
    draft.settle(prompt.batch_id)
    _end_without_files(draft, draft.state.the_prompt(prompt.batch_id, prompt.index), policy)
    return Taken(tuple(taken))


def _end_without_files(draft: Draft, prompt: PromptRow, policy: Policy) -> None:
    """End an attempt that has no file left to fetch while images still wait for one.

    The run failed before it came to their outputs, or they were retried while it ran for others.
    """
    with_file = {index for one in by_output(_images(draft, prompt), prompt.files) for index, _ in one.pairs}
    waiting = [image.index for image in _pending(draft, prompt)]
    if prompt.state == "finished" and with_file.isdisjoint(waiting):
        code = prompt.code or "not_rendered"
        _failed(draft, prompt, code, prompt.words, again=_may_fail_again(prompt, policy))


def _files_laid_by(draft: Draft, prompt: PromptRow, report: FilesLaidBy) -> Taken:
    """Files that wait already, or that a person chose, are not replaced by a later report.

    While files wait the prompt is not run again: a run would give other files. So the images of its other outputs that
    have no file yet fail, and can be retried after the choice.
    """
    laid = {file.image for file in report.files}
    chosen = [one for one in by_output(_images(draft, prompt), prompt.files) if _is_laid_by(one, laid)]
    theirs = {index for one in chosen for index in one.images}
    images = tuple(image.index for image in _pending(draft, prompt) if image.index in theirs)
    if not images or prompt.waiting or laid != {place for one in chosen for place in one.places}:
        return Taken(())
    about = (prompt.batch_id, prompt.index, prompt.attempt)
    draft.emit(FilesWaiting(*about, images, report.files, _digest(report.words)))
    code = report.code or prompt.code or "not_rendered"
    words = _digest(report.error) if report.code else prompt.words
    _fail_images(draft, prompt.batch_id, _pending(draft, prompt), code, words)
    return Taken(images)


def _is_laid_by(output: OutputFiles, laid: set[int]) -> bool:
    """Whether all files of an output that gave too many are in the spool."""
    return output.is_surplus and laid.issuperset(output.places)
