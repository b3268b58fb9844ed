"""What reports mean. A report that does not fit the state changes nothing, so that workers may repeat, come late and
be wrong; which report fits which state of a prompt is said in one place, `_FITS`."""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.core.decide.forget import deletion_report
from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.decide.recovery import image_lost
from comfyledger.core.events import (
    BatchHeld,
    FilesWaiting,
    ImageFailed,
    ImageKept,
    ImageParked,
    ImageUploaded,
    LanePaused,
    LaneResumed,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
    SeriesOpened,
    UploadStarted,
)
from comfyledger.core.evolve.prompts import FAILING_ALIKE
from comfyledger.core.media import medium_of
from comfyledger.core.reports import (
    DeletionReport,
    FilesKept,
    FilesLaidBy,
    ImageIsLost,
    ImageReport,
    LaneStuck,
    LaneWorks,
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptReport,
    PromptWasAccepted,
    PromptWasInterrupted,
    PromptWasRefused,
    Report,
    SeriesAnswered,
    SubmitIntended,
    UploadDone,
    UploadIntended,
    UploadRefused,
)
from comfyledger.core.results import SeriesNext, Taken, Wanted
from comfyledger.core.rows import ImageRow, PromptRow, Upload
from comfyledger.core.values import Blob, prompt_uuid

_AT_COMFYUI: Final = frozenset({"submitting", "accepted", "cancelling"})
_FITS: Final[dict[type[PromptReport], frozenset[str]]] = {
    SubmitIntended: frozenset({"queued", "submitting"}),
    PromptWasAccepted: frozenset({"submitting"}),
    PromptWasRefused: frozenset({"submitting", "cancelling"}),
    PromptHasFinished: _AT_COMFYUI,
    PromptHasFailed: _AT_COMFYUI | {"finished"},
    PromptWasInterrupted: _AT_COMFYUI,
    PromptIsGone: _AT_COMFYUI,
    FilesKept: frozenset({"finished"}),
    FilesLaidBy: frozenset({"finished"}),
}


def decide_report(draft: Draft, report: Report, policy: Policy) -> msgspec.Struct | None:
    match report:
        case PromptReport():
            return _prompt_report(draft, report, policy)
        case DeletionReport():
            deletion_report(draft, report)
            return None
        case ImageIsLost():
            image_lost(draft, report)
            return None
        case ImageReport():
            return _image_report(draft, report)
        case LaneStuck():
            _lane_stuck(draft, report)
            return None
        case LaneWorks(lane=lane):
            if draft.state.lane(lane).code:
                draft.emit(LaneResumed(lane, cause="trouble"))
            return None
        case SeriesAnswered():
            return _series_answered(draft, report)
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")


def _prompt_report(draft: Draft, report: PromptReport, policy: Policy) -> msgspec.Struct | None:
    prompt = draft.state.prompt(report.batch_id, report.prompt)
    if prompt is None or not _fits(prompt, report):
        return _nothing(report)
    match report:
        case SubmitIntended():
            return _submit_intended(draft, prompt, report)
        case PromptHasFinished():
            return _finished(draft, prompt, report)
        case FilesKept():
            return _files_kept(draft, prompt, report)
        case FilesLaidBy():
            return _files_laid_by(draft, prompt, report)
        case _:
            _prompt_news(draft, prompt, report, policy)
            return None


def _prompt_news(draft: Draft, prompt: PromptRow, report: PromptReport, policy: Policy) -> None:
    match report:
        case PromptWasAccepted():
            draft.emit(PromptAccepted(report.batch_id, report.prompt, report.attempt))
        case PromptWasRefused(code=code, words=words):
            _refused(draft, prompt, report, code, words)
        case PromptHasFailed(code=code, words=words, final=final):
            _failed(draft, prompt, code, words, again=not final and prompt.failures + 1 < policy.render_attempts_max)
        case PromptWasInterrupted():
            _taken_out(draft, prompt, "interrupted")
        case PromptIsGone(restarted=True) if prompt.state != "cancelling":
            _lost(draft, prompt, report, policy)
        case _:
            _taken_out(draft, prompt, "removed")


def _fits(prompt: PromptRow, report: PromptReport) -> bool:
    if prompt.state not in _FITS[type(report)]:
        return False
    begins = isinstance(report, SubmitIntended) and prompt.state == "queued"
    return report.attempt == prompt.attempt + (1 if begins else 0)


def _nothing(report: PromptReport) -> msgspec.Struct | None:
    """The answer to a report that fits nothing, where a worker waits for one."""
    match report:
        case SubmitIntended() | PromptHasFinished():
            return Wanted(go=False)
        case FilesKept() | FilesLaidBy():
            return Taken(())
        case _:
            return None


def _submit_intended(draft: Draft, prompt: PromptRow, report: SubmitIntended) -> Wanted:
    batch = draft.state.batch(report.batch_id)
    if batch is None or (batch.held and prompt.state == "queued"):
        return Wanted(go=False)
    if prompt.state == "queued":
        wire_id = prompt_uuid(report.batch_id, report.prompt, report.attempt)
        draft.emit(PromptSubmitting(report.batch_id, report.prompt, report.attempt, wire_id, prompt.backend))
    return Wanted(go=True, attempt=report.attempt)


def _pending(draft: Draft, prompt: PromptRow) -> list[ImageRow]:
    rows = (draft.state.image(prompt.batch_id, index) for index in prompt.images)
    return [row for row in rows if row is not None and row.state == "pending"]


def _refused(draft: Draft, prompt: PromptRow, report: PromptReport, code: str, words: Blob | None) -> None:
    """A refused graph fails all of its batch that ComfyUI has not accepted: the others would be refused alike."""
    digest = words.digest if words and _is_remembered(draft, prompt) else None
    draft.emit(PromptRefused(prompt.batch_id, prompt.index, prompt.attempt, code, digest))
    prompts = {
        other.index: other for other in draft.state.prompts(prompt.batch_id) if other.state in {"queued", "done"}
    }
    images = [
        image for image in draft.state.images(prompt.batch_id) if image.state == "pending" and image.prompt in prompts
    ]
    _fail_images(draft, prompt.batch_id, images, code, digest)


def _is_remembered(draft: Draft, prompt: PromptRow) -> bool:
    """Whether texts about a prompt may be kept: not after all of its images were forgotten."""
    rows = (draft.state.image(prompt.batch_id, index) for index in prompt.images)
    return any(row is not None and not row.is_forgotten for row in rows)


def _fail_images(draft: Draft, batch_id: str, images: list[ImageRow], code: str, words: str | None) -> None:
    if images:
        indexes = tuple(image.index for image in images)
        prompts = tuple(sorted({image.prompt for image in images}))
        draft.emit(ImageFailed(batch_id, indexes, prompts, code, words))
    draft.settle(batch_id)


def _finished(draft: Draft, prompt: PromptRow, report: PromptHasFinished) -> Wanted:
    """The graph decides how many files a run gives. None is thrown away, and the run is not repeated.

    Files belong to the images in their order. Images beyond the last file fail. Of more files than images a person
    says which are taken.
    """
    count, expected = len(report.files), len(prompt.images)
    if count == 0 or (prompt.state == "cancelling" and count != expected):
        _failed(draft, prompt, "wrong_count", report.words, again=False)
        return Wanted(go=False)
    draft.emit(PromptFinished(prompt.batch_id, prompt.index, prompt.attempt, report.files))
    without = set(prompt.images[count:])
    missing = [image for image in _pending(draft, prompt) if image.index in without]
    _fail_images(draft, prompt.batch_id, missing, "wrong_count", report.words.digest if report.words else None)
    after = draft.state.the_prompt(prompt.batch_id, prompt.index)
    return Wanted(go=after.state == "finished", attempt=prompt.attempt)


def _failed(draft: Draft, prompt: PromptRow, code: str, words: Blob | None, *, again: bool) -> None:
    """An attempt failed. `again`: another attempt may succeed, and is made."""
    if prompt.state == "cancelling":
        draft.emit(PromptRemoved(prompt.batch_id, prompt.index, prompt.attempt, by="cancel"))
        return
    digest = words.digest if words else None
    draft.emit(PromptFailed(prompt.batch_id, prompt.index, prompt.attempt, code, again, digest))
    if not again:
        _fail_images(draft, prompt.batch_id, _pending(draft, prompt), code, digest)
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


def _files_kept(draft: Draft, prompt: PromptRow, report: FilesKept) -> Taken:
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
            )
        )
        taken.append(file.image)
    draft.settle(prompt.batch_id)
    return Taken(tuple(taken))


def _files_laid_by(draft: Draft, prompt: PromptRow, report: FilesLaidBy) -> Taken:
    """Files that wait already, or that a person chose, are not replaced by a later report."""
    images = tuple(image.index for image in _pending(draft, prompt))
    if not images or prompt.waiting or len(report.files) != len(prompt.files):
        return Taken(())
    digest = report.words.digest if report.words else None
    draft.emit(FilesWaiting(prompt.batch_id, prompt.index, prompt.attempt, images, report.files, digest))
    draft.settle(prompt.batch_id)
    return Taken(images)


def _image_report(draft: Draft, report: ImageReport) -> msgspec.Struct | None:
    image = draft.state.image(report.batch_id, report.image)
    upload = image.upload(report.store) if image is not None else None
    if image is None or upload is None or not _is_awaited(image, upload, report):
        return Wanted(go=False) if isinstance(report, UploadIntended) else None
    match report:
        case UploadIntended():
            return _upload_intended(draft, report, upload)
        case UploadDone():
            draft.emit(
                ImageUploaded(
                    report.batch_id,
                    report.image,
                    image.public_id,
                    report.store,
                    report.url,
                    report.replayed,
                    report.details,
                )
            )
        case UploadRefused(code=code, words=words):
            digest = words.digest if words else None
            draft.emit(ImageParked(report.batch_id, report.image, image.public_id, report.store, code, digest))
    draft.settle(report.batch_id)
    return None


def _is_awaited(image: ImageRow, upload: Upload, report: ImageReport) -> bool:
    """An upload that ends while its image is being forgotten is recorded too, so that the store's copy is known."""
    if image.is_forgotten:
        return isinstance(report, UploadDone) and upload.state == "uploading"
    return image.state == "kept" and upload.state in {"owed", "uploading"}


def _upload_intended(draft: Draft, report: UploadIntended, upload: Upload) -> Wanted:
    """An upload that a crash or the lane's trouble interrupted is the same attempt, so no event is written."""
    if upload.state == "uploading":
        return Wanted(go=True, attempt=upload.attempts, resumed=True)
    attempt = upload.attempts + 1
    draft.emit(UploadStarted(report.batch_id, report.image, report.store, attempt))
    return Wanted(go=True, attempt=attempt)


def _lane_stuck(draft: Draft, report: LaneStuck) -> None:
    """One event for each trouble, however many calls meet it. Another code of the same lane is another event."""
    if draft.state.lane(report.lane).code != report.code:
        words = report.words.digest if report.words else None
        draft.emit(LanePaused(report.lane, cause="trouble", code=report.code, words=words))


def _series_answered(draft: Draft, report: SeriesAnswered) -> SeriesNext:
    row = draft.state.series(report.series.key)
    if row is not None and row.open:
        return SeriesNext(row.key, row.next)
    highest = max((0, *(evidence.highest for evidence in report.evidence)))
    following = highest + draft.state.first_number() if row is None else max(highest + 1, row.next)
    draft.emit(SeriesOpened(report.series.key, report.series.folder, following, report.evidence, by=report.by))
    return SeriesNext(report.series.key, following)
