"""Leaving an attempt behind, and what becomes of it then.

A prompt has one live attempt. One that was left behind, a stray, may still be rendering where it is, or have finished
unheard. If its files are complete before those of its successor, they are used and the successor is left behind in its
turn. So the images of a prompt get the files of one attempt.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.events import PromptMoved, StrayEnded
from comfyledger.core.output_files import by_output
from comfyledger.core.reports import (
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptIsLeft,
    PromptReport,
    PromptWasInterrupted,
    PromptWasRefused,
)
from comfyledger.core.results import Wanted
from comfyledger.core.rows import ImageRow, PromptRow, Stray
from comfyledger.core.values import StrayOutcome

UNREACHABLE: Final = frozenset({"removed", "replaced"})
"""Reasons to leave an attempt behind at a server that is not used any more."""


def left_behind(draft: Draft, prompt: PromptRow, report: PromptIsLeft, policy: Policy) -> Wanted:
    """Leave the live attempt behind, so that another one can be made. The answer says whether it was.

    A suspect stays, and a prompt whose next strike would be its last: else a prompt that stops ComfyUI would stop one
    after the other. It goes only where nobody has its backend any more. Then nobody can be asked for the attempt, which
    is given up at once. A prompt with files that a person chose stays until they are fetched. One that has finished did
    not run when its server went away, whatever is reported.
    """
    running = report.running and report.reason in {"away", "person"} and prompt.state != "finished"
    is_suspect = bool(prompt.strikes) or (running and policy.poison_strikes_max <= 1)
    if prompt.waiting or (is_suspect and report.reason in {"away", "person"}):
        return Wanted(go=False)
    draft.emit(PromptMoved(*_about(prompt), prompt.backend, report.reason, running))
    if report.reason in UNREACHABLE:
        draft.emit(StrayEnded(*_about(prompt), prompt.backend, "given_up"))
    return Wanted(go=True, attempt=prompt.attempt)


def _about(prompt: PromptRow) -> tuple[str, int, int]:
    return (prompt.batch_id, prompt.index, prompt.attempt)


def stray_report(draft: Draft, prompt: PromptRow, stray: Stray, report: PromptReport) -> msgspec.Struct | None:
    """What a report on a stray means. None if it is no news."""
    match report:
        case PromptHasFinished():
            return _finished(draft, prompt, stray, report)
        case PromptHasFailed() | PromptWasInterrupted() | PromptIsGone() | PromptWasRefused():
            _ended(draft, prompt, stray, "gone")
        case PromptIsLeft(reason=reason) if reason in UNREACHABLE:
            _ended(draft, prompt, stray, "given_up")
    return None


def _finished(draft: Draft, prompt: PromptRow, stray: Stray, report: PromptHasFinished) -> Wanted:
    """Use the files if they are complete and the live attempt has not finished yet."""
    if prompt.state not in {"queued", "submitting", "accepted"} or not _is_complete(draft, prompt, stray, report):
        _ended(draft, prompt, stray, "late")
        return Wanted(go=False)
    if prompt.at_comfyui:
        draft.emit(PromptMoved(*_about(prompt), prompt.backend, "overtaken"))
    about = (prompt.batch_id, prompt.index, stray.attempt, stray.backend)
    draft.emit(StrayEnded(*about, "used", report.files))
    return Wanted(go=True, attempt=stray.attempt)


def _is_complete(draft: Draft, prompt: PromptRow, stray: Stray, report: PromptHasFinished) -> bool:
    """Whether each image that waits gets a file, and no output gave another count of files than it has images."""
    rows = [row for row in (draft.state.image(prompt.batch_id, index) for index in prompt.images) if row is not None]
    asked = [one for one in by_output(rows, report.files) if not stray.outputs or one.output in stray.outputs]
    served = {index for one in asked for index in one.images}
    waiting = _waiting(rows)
    return bool(waiting) and waiting <= served and all(len(one.places) == len(one.images) for one in asked)


def _waiting(rows: list[ImageRow]) -> set[int]:
    return {row.index for row in rows if row.state == "pending"}


def _ended(draft: Draft, prompt: PromptRow, stray: Stray, outcome: StrayOutcome) -> None:
    draft.emit(StrayEnded(prompt.batch_id, prompt.index, stray.attempt, stray.backend, outcome))
