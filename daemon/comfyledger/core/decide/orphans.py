"""What becomes of images that only a box keeps which has left: a store has their bytes, or they are rendered again."""

from __future__ import annotations

from comfyledger.core.decide.inputs import forget_copies
from comfyledger.core.decide.prompts import awaits_choice
from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.events import ImageLost, ImageTakenOver
from comfyledger.core.reports import OrphanBroughtBack, OrphanIsLost, OrphanReport


def orphan_report(draft: Draft, report: OrphanReport, policy: Policy) -> None:
    """Changes nothing if the box is back, or if the image has other bytes, another box or an end since."""
    if not _is_orphan(draft, report):
        return
    match report:
        case OrphanBroughtBack():
            draft.emit(ImageTakenOver(report.batch_id, report.image, policy.box, report.box))
        case OrphanIsLost():
            _lost(draft, report)
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")


def _is_orphan(draft: Draft, report: OrphanReport) -> bool:
    image = draft.state.image(report.batch_id, report.image)
    if image is None or _is_back(draft, report.box):
        return False
    about = (image.state, image.box, image.prompt, image.attempt)
    return about == ("kept", report.box, report.prompt, report.attempt)


def _is_back(draft: Draft, name: str) -> bool:
    """Without a name, what was kept before the fleet is meant, which its founder has."""
    if not name:
        return any(box.founder and box.present for box in draft.state.boxes())
    box = draft.state.box(name)
    return box is not None and box.present


def _lost(draft: Draft, report: OrphanReport) -> None:
    """Nothing while other files of the run wait for a person's choice: another attempt would replace them."""
    if awaits_choice(draft, draft.state.the_prompt(report.batch_id, report.prompt)):
        return
    sha256 = draft.state.the_image(report.batch_id, report.image).sha256
    draft.emit(ImageLost(report.batch_id, (report.image,), (report.prompt,)))
    forget_copies(draft, sha256)
