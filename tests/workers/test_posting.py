"""Prompts reach ComfyUI in the order in which they began, and nobody waits longer than for that."""

from __future__ import annotations

import asyncio

import pytest

from comfyledger.workers.comfyui import posting as posting_module
from comfyledger.workers.comfyui.posting import Posting
from support.waiting import DEADLINE_S


async def passes(wait: asyncio.Task[None]) -> bool:
    for _ in range(10):
        await asyncio.sleep(0)
    return wait.done()


async def test_the_next_one_is_sent_when_those_before_it_are_answered_whoever_ends_first() -> None:
    posting = Posting()
    first, second, third = (posting.begins(one) for one in "abc")
    turn = asyncio.create_task(posting.turn("c"))
    posting.is_answered("b")
    assert not await passes(turn)
    posting.is_answered("a")
    assert await passes(turn)
    assert not first.ended.is_set()
    for one, post in zip("abc", (first, second, third), strict=True):
        posting.ends(one, post)
    assert not posting


async def test_who_follows_a_prompt_waits_until_its_answer_is_durable() -> None:
    posting = Posting()
    post = posting.begins("a")
    follow = asyncio.create_task(posting.ended("a"))
    posting.is_answered("a")
    assert not await passes(follow)
    posting.ends("a", post)
    assert await passes(follow)
    await posting.ended("a")


async def test_one_that_ends_without_an_answer_delays_nobody() -> None:
    posting = Posting()
    post = posting.begins("a")
    posting.begins("b")
    turn = asyncio.create_task(posting.turn("b"))
    assert not await passes(turn)
    posting.ends("a", post)
    assert await passes(turn)


async def test_the_order_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting_module, "TURN_S", 0.01)
    posting = Posting()
    posting.begins("a")
    posting.begins("b")
    async with asyncio.timeout(DEADLINE_S):
        await posting.turn("b")
