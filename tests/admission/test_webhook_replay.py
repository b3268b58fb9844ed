"""Where a replay of a webhook begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from comfyledger.admission.webhooks import _before
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import LogLines, LogWanted
from comfyledger.wire.requests import ReplayWebhook

EVENTS, LOOKED_AT = 1_000, 100


class Log:
    """One event a millisecond. As in the ledger, a call looks at a part of it only, and says that there is more."""

    async def log_lines(self, wanted: LogWanted) -> LogLines:
        upto = min(wanted.after + LOOKED_AT, EVENTS)
        found = [position for position in range(wanted.after + 1, upto + 1) if position >= (wanted.since_ms or 0)]
        lines = [Line(position, "b1", "batch_settled", 1, position, "{}", b"") for position in found[: wanted.limit]]
        return LogLines(lines, lines[-1].position if lines else upto, upto < EVENTS)


def context() -> Any:
    return SimpleNamespace(unlimited=Log(), view=SimpleNamespace(position=EVENTS))


async def test_a_time_is_found_however_much_was_logged_before_it() -> None:
    assert await _before(context(), ReplayWebhook("shop", since_ms=1)) == 0
    assert await _before(context(), ReplayWebhook("shop", since_ms=777)) == 776


async def test_after_the_last_event_there_is_nothing() -> None:
    assert await _before(context(), ReplayWebhook("shop", since_ms=EVENTS + 1)) == EVENTS
