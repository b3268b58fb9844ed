"""What a restore means: a new epoch, and every series above all that was found of numbers given after the backup."""

from __future__ import annotations

from comfyledger.core.commands import RestoreLedger, SeriesSeen
from comfyledger.core.decide.recorder import Draft, Raised
from comfyledger.core.events import LedgerRestored, SeriesRaised


def restore_ledger(draft: Draft, command: RestoreLedger) -> Raised:
    """Each series is raised by the margin whatever was found: an answer may have left that nothing shows any more."""
    draft.emit(
        LedgerRestored(
            epoch_before=command.epoch_before,
            epoch=command.epoch,
            position_before=draft.position,
            evidence=command.evidence,
            margin=command.margin,
            by=command.label,
            first=command.first,
        )
    )
    known = sum(draft.state.series(seen.key) is not None for seen in command.seen)
    for seen in command.seen:
        _raise(draft, command, seen)
    return Raised(opened=len(command.seen) - known, raised=known, unchanged=0)


def _raise(draft: Draft, command: RestoreLedger, seen: SeriesSeen) -> None:
    row = draft.state.series(seen.key)
    highest = max((evidence.highest for evidence in seen.evidence), default=0)
    following = max(highest + 1, row.next if row is not None else 1) + command.margin
    folder = row.folder if row is not None else seen.folder
    draft.emit(SeriesRaised(seen.key, folder, following, seen.evidence, reason="restore", by=command.label))
