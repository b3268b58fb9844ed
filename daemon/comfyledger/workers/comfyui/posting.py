"""The prompts that are being sent to one server, in the order in which that began.

Who follows or cancels a prompt waits until it has been sent. Who sends one waits for those before it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import takewhile
from typing import Final

TURN_S: Final = 1.0
"""How long a prompt waits for those that were begun before it. People expect this order; it is not promised."""


class Post:
    """`answered`: ComfyUI has said what it does with the prompt. `ended`: that is durable."""

    __slots__ = ("answered", "ended")

    def __init__(self) -> None:
        self.answered, self.ended = asyncio.Event(), asyncio.Event()


class Posting:
    """True while a prompt is being sent. Prompts are named by their `prompt_id`."""

    def __init__(self) -> None:
        self._posts: dict[str, Post] = {}

    def __bool__(self) -> bool:
        return bool(self._posts)

    def begins(self, prompt_id: str) -> Post:
        post = self._posts[prompt_id] = Post()
        return post

    def is_answered(self, prompt_id: str) -> None:
        """The next one may be sent, while what ComfyUI has said is being recorded."""
        if (post := self._posts.get(prompt_id)) is not None:
            post.answered.set()

    def ends(self, prompt_id: str, post: Post) -> None:
        """However it ended."""
        post.answered.set()
        post.ended.set()
        self._posts.pop(prompt_id, None)

    async def ended(self, prompt_id: str) -> None:
        """Wait for a POST in progress: until it ends, a prompt that ComfyUI does not know is not gone."""
        if (post := self._posts.get(prompt_id)) is not None:
            await post.ended.wait()

    async def turn(self, prompt_id: str) -> None:
        """Wait until earlier prompts are sent: each has its own connection, so they could arrive in any order."""
        before = takewhile(lambda one: one[0] != prompt_id, self._posts.items())
        earlier = [post.answered for _, post in before if not post.answered.is_set()]
        if not earlier:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(TURN_S):
                for answered in earlier:
                    await answered.wait()
