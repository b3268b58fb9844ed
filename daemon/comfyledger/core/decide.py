"""What a message means on the state that the message before it left: events to append, and an answer.

Nothing here knows the time, makes an id or reaches out. A command that cannot be done raises Refused and leaves no
event; a report that does not fit the state (late, doubled, foreign, reordered) leaves none either and is not an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from comfyledger.core.commands import (
    CancelBatch,
    Command,
    DropStore,
    HoldBatch,
    OpenSeries,
    PauseLane,
    RaiseSeries,
    ReleaseBatch,
    ResumeLane,
    RetryBatch,
    SubmitBatch,
)
from comfyledger.core.decide_commands import (
    cancel_batch,
    drop_store,
    hold_batch,
    open_series,
    pause_lane,
    raise_series,
    release_batch,
    resume_lane,
    retry_batch,
    submit_batch,
)
from comfyledger.core.decide_reports import decide_report
from comfyledger.core.draft import Decision, Draft, Policy
from comfyledger.core.reports import (
    ImageReport,
    LaneStuck,
    LaneWorks,
    PromptReport,
    PromptWasRefused,
    Report,
    SeriesAnswered,
)
from comfyledger.core.slices import Key, Slice
from comfyledger.core.values import store_lane

Message = Command | Report

__all__: Final = ["Decision", "Message", "Policy", "decide", "needs"]


def needs(message: Message) -> tuple[Key, ...]:
    """The keys of the rows that `decide` and the events that it makes need."""
    return _needs_of_command(message) if isinstance(message, Command) else _needs_of_report(message)


def _needs_of_command(command: Command) -> tuple[Key, ...]:
    match command:
        case SubmitBatch(label=label, request_id=request_id, series=series, template=template):
            return (
                Key("request", label, request_id),
                Key("series", series.key),
                Key("template", template.key),
            )
        case OpenSeries(series=series):
            return (Key("series", series.key),)
        case RaiseSeries(found=found):
            return tuple(Key("series", one.series.key) for one in found)
        case DropStore(store=store, batch_ids=batch_ids):
            return (Key("lane", store_lane(store)), *(key for batch_id in batch_ids for key in _whole(batch_id)))
        case PauseLane(lane=lane) | ResumeLane(lane=lane):
            return (Key("lane", lane),)
        case HoldBatch(batch_id=batch_id) | ReleaseBatch(batch_id=batch_id):
            return (Key("batch", batch_id),)
        case CancelBatch(batch_id=batch_id) | RetryBatch(batch_id=batch_id):
            return _whole(batch_id)
        case _:
            raise TypeError(f"no needs for {type(command).__name__}")


def _needs_of_report(report: Report) -> tuple[Key, ...]:
    match report:
        case SeriesAnswered(series=series):
            return (Key("series", series.key),)
        case LaneStuck(lane=lane) | LaneWorks(lane=lane):
            return (Key("lane", lane),)
        case ImageReport(batch_id=batch_id, image=image):
            return (Key("batch", batch_id), Key("image", batch_id, i=image))
        case PromptWasRefused(batch_id=batch_id):
            return _whole(batch_id)
        case PromptReport(batch_id=batch_id, prompt=prompt):
            return (
                Key("batch", batch_id),
                Key("prompt", batch_id, i=prompt),
                Key("prompt_images", batch_id, i=prompt),
            )
        case _:
            raise TypeError(f"no needs for {type(report).__name__}")


def _whole(batch_id: str) -> tuple[Key, ...]:
    return (Key("batch", batch_id), Key("batch_prompts", batch_id), Key("batch_images", batch_id))


def decide(state: Slice, message: Message, now_ms: int, position: int, policy: Policy) -> Decision:
    """The events that a message leads to, recorded at the positions after `position`, and the answer to it.

    Changes `state` to what it is after these events. Raises Refused for a command that cannot be done.
    """
    draft = Draft(state, now_ms, position)
    return Decision(_answer(draft, message, policy), tuple(draft.recorded))


_COMMANDS: Final[dict[type[Command], Callable[[Draft, Any], msgspec.Struct]]] = {
    SubmitBatch: submit_batch,
    OpenSeries: open_series,
    RaiseSeries: raise_series,
    DropStore: drop_store,
    CancelBatch: cancel_batch,
    RetryBatch: retry_batch,
    HoldBatch: hold_batch,
    ReleaseBatch: release_batch,
    PauseLane: pause_lane,
    ResumeLane: resume_lane,
}


def _answer(draft: Draft, message: Message, policy: Policy) -> msgspec.Struct | None:
    if isinstance(message, Report):
        return decide_report(draft, message, policy)
    return _COMMANDS[type(message)](draft, message)
