"""Commits one group of messages, in the writer's thread. Each message is decided on the state that the one before it
left. One that raises changes nothing. The outcomes hold once the transaction is committed, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import AddInput, JoinBox, OpenSeries, RetryBatch, SubmitBatch
from comfyledger.core.decide.decide import Message, decide, needs
from comfyledger.core.decide.recorder import Decision, Policy
from comfyledger.core.events import BatchReopened
from comfyledger.core.keys import BoxKey
from comfyledger.core.results import SeriesUnknown
from comfyledger.core.rows import Row, Slice
from comfyledger.core.values import Blob
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.group_buffer import Together
from comfyledger.ledger.ports import Ledger, RowRefused

_EXPECTED_MIN: Final = 4
"""Submits in a group for which it pays to look for all their rows at once."""


class Shortage(msgspec.Struct, frozen=True):
    """Why new work is refused: which disk is full, how much space it has and needs, and what to do."""

    message: str
    hint: str

    def refusal(self) -> Refused:
        return Refused("storage_full", self.message, hint=self.hint)


class Terms(msgspec.Struct, frozen=True):
    """What applies to a whole group: its time, the policy and whether it accepts new work. `full`: nothing is written.

    `room`: how many more open images each label may have. A label that is not in it has no limit. Each accepted batch
    reduces it.
    """

    now_ms: int
    policy: Policy
    shortage: Shortage | None
    full: bool = False
    room: dict[str, int] = {}


class Outcome(msgspec.Struct, frozen=True):
    """What became of one message: the answer and the rows that it changed, or an error."""

    answer: msgspec.Struct | None = None
    rows: tuple[Row, ...] = ()
    error: Exception | None = None


def decide_group(ledger: Ledger, messages: list[Message], terms: Terms) -> tuple[list[Outcome], list[Line]]:
    """Decide and commit a group. Returns the outcomes in the order of the messages, and the appended lines.

    Raises StorageFull, LedgerLocked, LedgerUnusable, or any other error that ended the group: then nothing is written.
    The whole group is written at once. If the tables refuse a row of some message, the group is decided again, and each
    message is written and undone separately.
    """
    try:
        return _decide_together(ledger, messages, _anew(terms))
    except (Refused, RowRefused):
        return _decide_apart(ledger, messages, _anew(terms))


def _anew(terms: Terms) -> Terms:
    """The same terms with their own copy of `room`, which a group reduces."""
    return msgspec.structs.replace(terms, room=dict(terms.room))


def _decide_together(ledger: Ledger, messages: list[Message], terms: Terms) -> tuple[list[Outcome], list[Line]]:
    with ledger.group() as lines:
        fence, group = _fence(ledger, terms), Together(ledger)
        submits = [message for message in messages if isinstance(message, SubmitBatch)]
        if len(submits) >= _EXPECTED_MIN:
            group.expect(submits)
        outcomes = [_kept_out(message, fence) or _take(ledger, group, message, terms) for message in messages]
        group.flush()
    return outcomes, lines


def _take(ledger: Ledger, group: Together, message: Message, terms: Terms) -> Outcome:
    """The outcome of one message. It is taken into the group last, so one that raises leaves nothing behind."""
    try:
        keys = needs(message)
    except Exception as error:
        return Outcome(error=error)
    group.prepare(keys)

    def taken() -> Outcome:
        with ledger.following():
            state = group.load(keys)
            decision = _decided(ledger, state, message, terms)
            group.take(decision.recorded, state, texts_named(message, decision))
        return Outcome(answer=decision.answer, rows=tuple(state.changed.values()))

    return _outcome(ledger, taken)


def _decide_apart(ledger: Ledger, messages: list[Message], terms: Terms) -> tuple[list[Outcome], list[Line]]:
    with ledger.group() as lines:
        fence = _fence(ledger, terms)
        outcomes = [_kept_out(message, fence) or _decide_one(ledger, message, terms) for message in messages]
    return outcomes, lines


def _fence(ledger: Ledger, terms: Terms) -> Refused | None:
    """Why nothing that this box says counts: the fleet took it for dead, or it has joined anew since."""
    policy = terms.policy
    if not policy.box:
        return None
    row = ledger.load_one(BoxKey(policy.box))
    is_fenced = policy.is_fenced(row if isinstance(row, BoxRow) else None)
    return fenced() if is_fenced else None


def fenced() -> Refused:
    """The refusal of a box that was declared left, until it has joined again."""
    return Refused("fenced", retry_after_s=1.0)


def _kept_out(message: Message, fence: Refused | None) -> Outcome | None:
    """A box that joins anew is let in."""
    return None if fence is None or isinstance(message, JoinBox) else Outcome(error=fence)


def _decide_one(ledger: Ledger, message: Message, terms: Terms) -> Outcome:
    def written() -> Outcome:
        with ledger.message():
            state = ledger.load(needs(message))
            decision = _decided(ledger, state, message, terms)
            ledger.write(decision.recorded, state, texts_named(message, decision))
        return Outcome(answer=decision.answer, rows=tuple(state.changed.values()))

    return _outcome(ledger, written)


def _outcome(ledger: Ledger, work: Callable[[], Outcome]) -> Outcome:
    """An error is the outcome of its message, unless it ends the group."""
    try:
        return work()
    except Exception as error:
        if ledger.ends_group(error):
            raise
        return Outcome(error=error)


def _decided(ledger: Ledger, state: Slice, message: Message, terms: Terms) -> Decision:
    """Raises Refused if a disk is full or the label has too many open images."""
    decision = decide(state, message, terms.now_ms, ledger.head.position, terms.policy)
    if terms.shortage is not None and ((terms.full and decision.recorded) or _adds_work(message, decision)):
        raise terms.shortage.refusal()
    if isinstance(message, SubmitBatch) and decision.recorded:
        _take_room(message, terms.room)
    return decision


def _take_room(command: SubmitBatch, room: dict[str, int]) -> None:
    """Count the images of a batch against its label's limit. Raises Refused(too_many_open).

    A batch that later cannot be written still counts for the rest of its group.
    """
    if command.label not in room:
        return
    images, left = sum(len(prompt.images) for prompt in command.prompts), room[command.label]
    if images > left:
        text = f"{command.label} may have {max(0, left)} more open images; the batch has {images}."
        hint = "Wait until some are stored, cancel what is not needed, or raise [limits] open_images_max."
        raise Refused("too_many_open", text, hint=hint)
    room[command.label] = left - images


def _adds_work(message: Message, decision: Decision) -> bool:
    """Whether more would be rendered or kept. A repeated request adds nothing."""
    match message:
        case AddInput():
            return bool(decision.recorded)
        case SubmitBatch():
            return bool(decision.recorded) or isinstance(decision.answer, SeriesUnknown)
        case RetryBatch():
            return any(isinstance(entry.event, BatchReopened) and entry.event.render for entry in decision.recorded)
        case _:
            return False


def texts_named(message: Message, decision: Decision) -> Iterable[Blob]:
    """The texts that the events of a message name; written only if there are events."""
    match message:
        case SubmitBatch():  # The events name the graph as it is here already, with another salt, if it is.
            named = {getattr(entry.event, "template", None) for entry in decision.recorded}
            return (*((message.template,) if message.template.digest in named else ()), *message.texts)
        case OpenSeries():
            return ()
        case _:
            named = {getattr(entry.event, "words", None) for entry in decision.recorded}
            texts = (getattr(message, "words", None), getattr(message, "error", None))
            return tuple(text for text in texts if isinstance(text, Blob) and text.digest in named)
