"""What a message means on the state that the message before it left: events to append, and an answer.

Nothing here knows the time, makes an id or reaches out. A command that cannot be done raises Refused and leaves no
event; a report that does not fit the state (late, doubled, foreign, reordered) leaves none either and is not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from comfyledger.core.commands import (
    AddBackend,
    AddInput,
    AddWebhook,
    CancelBatch,
    Command,
    DropCopies,
    DropStore,
    Forget,
    ForgetInput,
    GiveUpBox,
    HoldBatch,
    JoinBox,
    LeaveBox,
    OpenSeries,
    OweStore,
    PauseLane,
    PauseWebhook,
    RaiseSeries,
    ReleaseBatch,
    RemoveBackend,
    RemoveWebhook,
    RenumberImages,
    RestoreLedger,
    ResumeLane,
    ResumeWebhook,
    RetryBatch,
    ReviewImages,
    SetPriority,
    SubmitBatch,
)
from comfyledger.core.decide.backends import add_backend, remove_backend
from comfyledger.core.decide.boxes import give_up_box, join_box, leave_box
from comfyledger.core.decide.commands import (
    cancel_batch,
    drop_store,
    hold_batch,
    lanes_of,
    open_series,
    pause_lane,
    raise_series,
    release_batch,
    resume_lane,
    set_priority,
    submit_batch,
)
from comfyledger.core.decide.forget import forget
from comfyledger.core.decide.inputs import add_input, drop_copies, forget_input
from comfyledger.core.decide.recorder import Decision, Draft, Policy
from comfyledger.core.decide.recovery import owe_store, renumber_images, restore_ledger
from comfyledger.core.decide.reports import decide_report
from comfyledger.core.decide.retry import retry_batch
from comfyledger.core.decide.reviews import review_images
from comfyledger.core.decide.webhooks import add_webhook, pause_webhook, remove_webhook, resume_webhook
from comfyledger.core.keys import (
    BackendKey,
    BatchInputs,
    BatchKey,
    BatchTexts,
    BoxKey,
    ImageKey,
    InputKey,
    InputUses,
    Key,
    LaneKey,
    PresentBackends,
    PresentBoxes,
    PresentWebhooks,
    RequestKey,
    SeriesKey,
    TemplateKey,
    WebhookKey,
    whole_batch,
    whole_prompt,
)
from comfyledger.core.reports import (
    BackendEnded,
    ImageIsLost,
    ImageReport,
    InputReport,
    InputSending,
    InputUnused,
    LaneStuck,
    LaneWorks,
    OrphanReport,
    PromptReport,
    PromptWasRefused,
    Report,
    SeriesAnswered,
    SourceEnded,
    SourceReport,
    SourcesFound,
    SubmitIntended,
    WebhookEnded,
    WebhookProgressed,
)
from comfyledger.core.rows import UNOPENED, Slice
from comfyledger.core.values import ImageAt, backend_lane

Message = Command[Any] | Report

__all__: Final = ["Decision", "Message", "Policy", "decide", "needs"]


def needs(message: Message) -> tuple[Key, ...]:
    """The keys of the rows that `decide` and the events that it makes need."""
    match message:  # what comes for each batch and image is looked for first
        case SubmitBatch():
            return _of_submit(message)
        case PromptReport() | ImageReport():
            return _needs_of_report(message)
        case _:
            return _needs_of_rare(message)


def _needs_of_rare(message: Message) -> tuple[Key, ...]:
    match message:
        case AddInput() | ForgetInput() | InputReport():
            return _of_input(message)
        case DropCopies(sha256s=sha256s):
            return tuple(map(InputKey, sha256s))
        case AddBackend(name=name):
            return (PresentBackends(), BackendKey(name))
        case RemoveBackend(name=name):
            return (BackendKey(name), LaneKey(backend_lane(name)))
        case BackendEnded(name=name):
            return (BackendKey(name),)
        case AddWebhook(name=name):
            return (PresentWebhooks(), WebhookKey(name))
        case RemoveWebhook(name=name) | PauseWebhook(name=name) | ResumeWebhook(name=name) | WebhookEnded(name=name):
            return (WebhookKey(name),)
        case JoinBox() | LeaveBox() | GiveUpBox():
            return _of_box(message)
        case Command():
            return _needs_of_command(message)
        case _:
            return _needs_of_report(message)


def _of_box(command: JoinBox | LeaveBox | GiveUpBox) -> tuple[Key, ...]:
    others = (PresentBoxes(),) if isinstance(command, JoinBox) else ()
    return (*others, BoxKey(command.name))


def _of_submit(command: SubmitBatch) -> tuple[Key, ...]:
    return (
        RequestKey(command.label, command.request_id),
        *_series(*[one.key for one in command.series]),
        TemplateKey(command.template.key),
        *[InputKey(load.sha256) for one in command.prompts for load in one.loads if load.source is None],
    )


def _needs_of_command(command: Command[Any]) -> tuple[Key, ...]:
    match command:
        case OpenSeries() | RaiseSeries() | RestoreLedger():
            return _series(*_keys_of(command))
        case DropStore(batch_ids=batch_ids):
            return (*map(LaneKey, lanes_of(command)), *(key for batch_id in batch_ids for key in whole_batch(batch_id)))
        case OweStore(batch_id=batch_id, images=images):
            return _some(batch_id, images)
        case RenumberImages(batch_id=batch_id, series=series, images=images):
            return (*map(SeriesKey, series), *_some(batch_id, images))
        case ReviewImages(batches=batches):
            return tuple(key for one in batches for key in _some(one.batch_id, one.images))
        case PauseLane(lane=lane) | ResumeLane(lane=lane):
            return (LaneKey(lane),)
        case HoldBatch(batch_id=batch_id) | ReleaseBatch(batch_id=batch_id) | SetPriority(batch_id=batch_id):
            return (BatchKey(batch_id),)
        case RetryBatch(batch_id=batch_id, series=series, also=also, sources=sources):
            every = (batch_id, *(one.batch_id for one in also), *(one.batch_id for one in sources))
            return (*map(SeriesKey, series), *(key for one in dict.fromkeys(every) for key in whole_batch(one)))
        case CancelBatch() | Forget():
            return _whole_for(command)
        case _:
            raise TypeError(f"no needs for {type(command).__name__}")


def _needs_of_report(report: Report) -> tuple[Key, ...]:
    match report:
        case SeriesAnswered(series=series):
            return _series(series.key)
        case WebhookProgressed():
            return ()
        case LaneStuck(lane=lane) | LaneWorks(lane=lane):
            return (LaneKey(lane),)
        case SourceReport(batch_id=batch_id, prompt=prompt):
            return (*_of_prompt(batch_id, prompt), *(ImageKey(one.batch_id, one.image) for one in _sources(report)))
        case ImageIsLost() | OrphanReport():
            box = (BoxKey(report.box) if report.box else PresentBoxes(),) if isinstance(report, OrphanReport) else ()
            return (*_of_prompt(report.batch_id, report.prompt), BatchInputs(report.batch_id), *box)
        case ImageReport(batch_id=batch_id, image=image):
            return (BatchKey(batch_id), ImageKey(batch_id, image))
        case PromptWasRefused(batch_id=batch_id):
            return whole_batch(batch_id)
        case SubmitIntended(backend=backend):
            return (*_of_prompt(report.batch_id, report.prompt), LaneKey(backend_lane(backend)))
        case PromptReport(batch_id=batch_id, prompt=prompt):
            return _of_prompt(batch_id, prompt)
        case _:
            raise TypeError(f"no needs for {type(report).__name__}")


def _of_input(message: AddInput | ForgetInput | InputReport) -> tuple[Key, ...]:
    """With who uses it, where it may be erased or sent, and the image that it is."""
    uses = (InputUses(message.sha256),) if isinstance(message, ForgetInput | InputUnused | InputSending) else ()
    source = message.source if isinstance(message, InputSending) else None
    image = (ImageKey(source.batch_id, source.image),) if source is not None else ()
    return (InputKey(message.sha256), *uses, *image)


def _sources(report: SourceReport) -> Iterator[ImageAt]:
    match report:
        case SourcesFound(loads=loads):
            yield from (load.source for load in loads if load.source is not None)
        case SourceEnded(source=source):
            yield source


def _keys_of(command: OpenSeries | RaiseSeries | RestoreLedger) -> Iterator[str]:
    match command:
        case OpenSeries(series=series):
            yield series.key
        case RaiseSeries(found=found):
            yield from (one.series.key for one in found)
        case RestoreLedger(seen=seen):
            yield from (one.key for one in seen)


def _series(*keys: str) -> tuple[Key, ...]:
    """With the row that says how an unused series begins, in case the series has none."""
    return tuple(SeriesKey(key) for key in (UNOPENED, *keys))


def _whole_for(command: CancelBatch | Forget) -> tuple[Key, ...]:
    batch_id = command.batch_id
    of_texts = (BatchTexts(batch_id), BatchInputs(batch_id)) if isinstance(command, Forget) else ()
    return (*whole_batch(batch_id), *of_texts)


def _of_prompt(batch_id: str, prompt: int) -> tuple[Key, ...]:
    return (BatchKey(batch_id), *whole_prompt(batch_id, prompt))


def _some(batch_id: str, images: tuple[int, ...]) -> tuple[Key, ...]:
    return (BatchKey(batch_id), *(ImageKey(batch_id, index) for index in images))


def decide(state: Slice, message: Message, now_ms: int, position: int, policy: Policy) -> Decision:
    """The events that a message leads to, recorded at the positions after `position`, and the answer to it.

    Changes `state` to what it is after these events. Raises Refused for a command that cannot be done.
    """
    draft = Draft(state, now_ms, position)
    return Decision(_answer(draft, message, policy), tuple(draft.recorded))


_COMMANDS: Final[dict[type[Command[Any]], Callable[[Draft, Any], msgspec.Struct]]] = {
    SubmitBatch: submit_batch,
    OpenSeries: open_series,
    RaiseSeries: raise_series,
    RestoreLedger: restore_ledger,
    DropStore: drop_store,
    DropCopies: drop_copies,
    OweStore: owe_store,
    RenumberImages: renumber_images,
    CancelBatch: cancel_batch,
    RetryBatch: retry_batch,
    ReviewImages: review_images,
    Forget: forget,
    AddInput: add_input,
    ForgetInput: forget_input,
    AddBackend: add_backend,
    RemoveBackend: remove_backend,
    AddWebhook: add_webhook,
    RemoveWebhook: remove_webhook,
    PauseWebhook: pause_webhook,
    ResumeWebhook: resume_webhook,
    JoinBox: join_box,
    LeaveBox: leave_box,
    GiveUpBox: give_up_box,
    HoldBatch: hold_batch,
    ReleaseBatch: release_batch,
    SetPriority: set_priority,
    PauseLane: pause_lane,
    ResumeLane: resume_lane,
}


def _answer(draft: Draft, message: Message, policy: Policy) -> msgspec.Struct | None:
    if isinstance(message, Report):
        return decide_report(draft, message, policy)
    return _COMMANDS[type(message)](draft, message)
