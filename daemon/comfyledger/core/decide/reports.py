"""What reports mean; those on prompts are in `prompts`. A report that does not fit the state changes nothing, so that
workers may repeat, come late and be wrong."""

from __future__ import annotations

import msgspec

from comfyledger.core.decide.backends import backend_ended
from comfyledger.core.decide.forget import deletion_report
from comfyledger.core.decide.inputs import input_report
from comfyledger.core.decide.orphans import orphan_report
from comfyledger.core.decide.prompts import prompt_report
from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.decide.recovery import image_lost
from comfyledger.core.decide.sources import source_report
from comfyledger.core.decide.webhooks import webhook_report
from comfyledger.core.events import (
    ImageParked,
    ImageUploaded,
    LanePaused,
    LaneResumed,
    SeriesOpened,
    UploadStarted,
)
from comfyledger.core.reports import (
    BackendEnded,
    DeletionReport,
    ImageIsLost,
    ImageReport,
    InputReport,
    LaneStuck,
    LaneWorks,
    OrphanReport,
    PromptReport,
    Report,
    SeriesAnswered,
    SourceReport,
    UploadDone,
    UploadIntended,
    UploadRefused,
    WebhookReport,
)
from comfyledger.core.results import SeriesNext, Wanted
from comfyledger.core.rows import ImageRow, Upload


def decide_report(draft: Draft, report: Report, policy: Policy) -> msgspec.Struct | None:
    match report:
        case PromptReport():
            return prompt_report(draft, report, policy)
        case InputReport():
            return input_report(draft, report)
        case SourceReport():
            source_report(draft, report)
            return None
        case ImageReport():
            return _image_report(draft, report, policy)
        case OrphanReport():
            orphan_report(draft, report, policy)
            return None
        case LaneStuck() | LaneWorks():
            _lane_report(draft, report)
            return None
        case BackendEnded() | WebhookReport():
            _place_report(draft, report, policy)
            return None
        case SeriesAnswered():
            return _series_answered(draft, report)
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")


def _place_report(draft: Draft, report: BackendEnded | WebhookReport, policy: Policy) -> None:
    if isinstance(report, BackendEnded):
        backend_ended(draft, report)
    else:
        webhook_report(draft, report, policy)


def _image_report(draft: Draft, report: ImageReport, policy: Policy) -> msgspec.Struct | None:
    match report:
        case DeletionReport():
            deletion_report(draft, report)
            return None
        case ImageIsLost():
            image_lost(draft, report, policy)
            return None
        case _:
            return _upload_report(draft, report, policy)


def _upload_report(draft: Draft, report: ImageReport, policy: Policy) -> msgspec.Struct | None:
    image = draft.state.image(report.batch_id, report.image)
    upload = image.upload(report.store) if image is not None else None
    if image is None or upload is None or policy.is_foreign(image) or not _is_awaited(image, upload, report):
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


def _lane_report(draft: Draft, report: LaneStuck | LaneWorks) -> None:
    """One event for each trouble, however many calls meet it. Another code of the same lane is another event."""
    code = draft.state.lane(report.lane).code
    if isinstance(report, LaneWorks):
        if code:
            draft.emit(LaneResumed(report.lane, cause="trouble"))
    elif code != report.code:
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
