"""One line of the daemon's log for each batch that settles: how it ended and how long each part took.

The times are those of the event log. Times from before the daemon's start are left out; nothing is read for them. The
ids in the line are for `comfyledger explain` and `comfyledger log`. The line holds no text that a user typed into a
prompt or a name.
"""

from __future__ import annotations

import msgspec
import structlog

from comfyledger.core.events import BatchSettled
from comfyledger.core.rows import BatchRow
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.observers import Committed

log = structlog.get_logger("comfyledger.settling")


class _Times(msgspec.Struct):
    """Times of an open batch in milliseconds since 1970: begun or reopened, first prompt sent, last file kept."""

    begun: int | None = None
    sent: int | None = None
    kept: int | None = None


class BatchLog:
    """An observer of commits. It holds three numbers for each open batch."""

    def __init__(self) -> None:
        self._times: dict[str, _Times] = {}

    def __call__(self, committed: Committed) -> None:
        for line in committed.lines:
            match line.kind:
                case "batch_requested" | "batch_reopened":
                    self._times[line.stream] = _Times(line.at_ms)
                case "prompt_submitting":
                    times = self._times.setdefault(line.stream, _Times())
                    times.sent = times.sent or line.at_ms
                case "image_kept":
                    self._times.setdefault(line.stream, _Times()).kept = line.at_ms
                case "batch_settled":
                    row = committed.rows.get(("batch", line.stream, ""))
                    self._log_settled(line, row, self._times.pop(line.stream, _Times()))
                case _:
                    pass

    def _log_settled(self, line: Line, batch: object, times: _Times) -> None:
        settled = msgspec.json.decode(line.data, type=BatchSettled)
        if not isinstance(batch, BatchRow):
            return
        begun = times.begun or batch.at_ms
        spans = {
            "took_s": (begun, line.at_ms),
            "wait_s": (begun, times.sent),
            "render_s": (times.sent, times.kept),
            "store_s": (times.kept, line.at_ms),
        }
        log.info(
            "batch.settled",
            batch_id=batch.batch_id,
            request_id=batch.request_id,
            client=batch.label,
            workflow=batch.workflow,
            position=line.position,
            images=batch.images,
            **{name: getattr(settled, name) for name in ("stored", "parked", "failed", "cancelled", "forgotten")},
            **{name: _seconds(*span) for name, span in spans.items() if None not in span},
        )


def _seconds(first: int | None, last: int | None) -> float:
    """0 if a clock was set back in between."""
    return max(0, (last or 0) - (first or 0)) / 1000
