"""The ways in which a worker ends: well, in trouble, with a refusal or a failure, or without a word."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from comfyledger.core.decide.decide import Message
from comfyledger.core.reports import ImageIsLost
from comfyledger.core.scheduling.effects import (
    DeleteImage,
    Effect,
    FetchPrompt,
    FindSources,
    FollowPrompt,
    PromptEffect,
    SubmitPrompt,
    UploadImage,
)
from support.core_builders import (
    accepted,
    failed,
    fallen,
    foreign,
    gone,
    intended,
    interrupted,
    refused,
    stuck,
    unfit,
    unwanted,
    uploading,
    wrote,
)
from support.plain_engine import PlainEngine

_SOME = 13
_FILES: dict[int, Callable[[int, int], int]] = {
    _SOME: lambda count, number: count if number > 1 else 0,
    14: lambda count, number: count + number % 2,
    15: lambda count, number: max(0, count - number % 2),
    16: lambda count, number: count + (number > 1),
}
"""How many files an output gives, by the count that is expected of it and its number."""


_Make = Callable[..., Message]
_SUBMITS: dict[int, _Make] = {8: refused, 9: failed, 10: accepted, 11: unfit}
_FOLLOWS: dict[int, _Make] = {8: interrupted, 9: failed, 10: gone, 11: fallen}


def end(engine: PlainEngine, effect: Effect, how: int) -> None:
    """A worker of an effect succeeds (`how` up to 5), dies (6), meets a trouble of its lane (7), or fails otherwise."""
    if how <= 5:
        engine.perform(effect)
        return
    if isinstance(effect, FindSources):
        engine.done(effect, died=True)
        return
    if isinstance(effect, FollowPrompt) and how in _FILES:
        counts = [_FILES[how](count, number) for number, count in enumerate(engine.files_expected(effect), 1)]
        code = "oom" if how == _SOME else ""
        engine.post(wrote(effect.prompt, effect.attempt, files=counts, code=code, batch=effect.batch_id))
        engine.done(effect)
        return
    if isinstance(effect, SubmitPrompt | UploadImage) and how > 6:
        begin = (
            uploading(effect.image.index, effect.store, batch=effect.image.batch_id)
            if isinstance(effect, UploadImage)
            else intended(effect.prompt, effect.attempt, batch=effect.batch_id, backend=effect.backend)
        )
        if not engine.go(begin):
            engine.done(effect)
            return
    engine.post(_wrong_end(effect, how, engine.owed.lane_here(effect.lane)))
    engine.done(effect)


def _wrong_end(effect: Effect, how: int, lane: str) -> list[Message]:
    """What a worker reports before it gives up; nothing if it died. `lane`: as which its trouble is reported."""
    if how <= 6:
        return []
    if how == 7:
        return [stuck(lane)]
    match effect:
        case DeleteImage():
            return [foreign(effect.image.index, effect.store, batch=effect.image.batch_id)]
        case UploadImage(image=image) if how == 9:
            return [ImageIsLost(image.batch_id, image.index, effect.store, image.prompt, image.attempt)]
        case UploadImage():
            return [unwanted(effect.image.index, effect.store, batch=effect.image.batch_id)]
        case SubmitPrompt():
            make = _SUBMITS.get(how, failed)
        case FollowPrompt():
            make = _FOLLOWS.get(how, partial(gone, restarted=True))
        case FetchPrompt():
            make = failed
        case _:
            return []
    assert isinstance(effect, PromptEffect)
    return [make(effect.prompt, effect.attempt, batch=effect.batch_id)]
