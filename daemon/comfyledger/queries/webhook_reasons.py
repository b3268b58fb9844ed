"""Which events of a batch wait for a webhook, and why: a sentence for each webhook. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from comfyledger import wire
from comfyledger.core.rows import BatchRow
from comfyledger.core.webhooks import WebhookProgress
from comfyledger.ledger.eventlog import Line
from comfyledger.workers.webhooks.target import Target

_STOPPED: Final = {
    "paused": "A person paused it.",
    "gone": "It is paused, because its endpoint answered 410 (Gone).",
    "dead": "It is paused, because its endpoint took nothing for five days.",
    "not_allowed": "It delivers nothing, because webhooks_allowed does not describe its address any more.",
}


def owed_to(
    target: Target, info: wire.WebhookInfo, progress: WebhookProgress, batch: BatchRow, lines: Iterable[Line]
) -> Iterator[wire.OwedInfo]:
    """What one webhook has still to deliver of a batch; nothing if it has delivered all. `lines`: of the batch, by
    position.
    """
    waiting = [line for line in lines if _waits(line, target, progress)]
    if waiting and (not target.only_named or batch.webhook == target.name):
        code, why, command, since_ms = _why(waiting[0], info, progress)
        what = "1 event" if len(waiting) == 1 else f"{len(waiting)} events, the first of them"
        said = (
            f"The webhook {target.name} has still to deliver {what} {waiting[0].kind} at {waiting[0].position}. {why}"
        )
        yield wire.OwedInfo("deliver", code, said, command, since_ms=since_ms)


def _waits(line: Line, target: Target, progress: WebhookProgress) -> bool:
    if line.kind not in target.kinds:
        return False
    is_ahead = line.position > progress.position and line.position not in progress.ahead
    return is_ahead or any(one.position == line.position for one in progress.owed)


def _why(first: Line, info: wire.WebhookInfo, progress: WebhookProgress) -> tuple[str, str, str, int]:
    """Code, sentence, the command that helps, and since when it is so."""
    if info.state in _STOPPED:
        command = "" if info.state == "not_allowed" else f"comfyledger webhook resume {info.name}"
        return info.state, _STOPPED[info.state], command, 0
    aside = next((one for one in progress.owed if one.stream == first.stream), None)
    if aside is not None and aside.position <= first.position:
        which = "it" if aside.position == first.position else f"the one at {aside.position}, which comes before it"
        return (
            aside.code,
            f"The endpoint did not take {which} ({aside.code}). The daemon tries again automatically.",
            "",
            0,
        )
    if info.state == "failing":
        return info.code, f"{info.text} The daemon tries again automatically.", "", info.failing_ms
    return "turn", "It waits for its turn.", "", 0
