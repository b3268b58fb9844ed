"""Makes ledgers of any length for the benchmark of scale: the core decides the lives of batches, and the ledger writes
them.

Six batches are open at any time. Each asks for 1 to 60 images in prompts of four. Of a hundred prompts three fail once,
of a hundred images two are parked. One message has the whole life of a prompt, so writing events is what takes the
time, and not waiting. The same numbers give the same ledger.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from typing import Final

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.decide.decide import decide, needs
from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.events import (
    ImageKept,
    ImageParked,
    ImageUploaded,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptSubmitting,
    UploadStarted,
)
from comfyledger.core.keys import BatchKey, whole_prompt
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.naming.slugs import fold
from comfyledger.core.results import Accepted
from comfyledger.core.values import ImageNamed, OutputFile, PromptFixed, StoreRef, blob_of, prompt_uuid
from comfyledger.ledger.sqlite.writer import Ledger

NOW_MS: Final = 1_700_000_000_000
STORE: Final = StoreRef("cloud", "cloudinary:demo/dynamic")
USERS: Final = 50
CHARACTERS: Final = 300
AT_ONCE: Final = 6
IMAGES_MAX: Final = 60
A_PROMPT: Final = 4
BYTES: Final = 1_500_000
PLAN: Final = {"output": "9", "seed": ["3", "seed"], "inputs": {"prompt": ["6", "text"]}}
_GRAPH: Final = b'{"9":{"class_type":"SaveImage"}}' * 60
_made = itertools.count()
"""Batch ids rise with time, like the daemon's, so neighbours are beside each other in the tables."""
GRAPH: Final = blob_of(_GRAPH, b"salt", hashlib.sha256(_GRAPH).hexdigest())


class Life:
    """Writes batches into a ledger without end. `more` adds a group. It can continue in another copy of the same
    ledger.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same mix each time
        self._made = 0
        self._seed = seed
        self._open: list[Iterator[None]] = []
        self._ledger: Ledger

    def more(self, ledger: Ledger, messages: int) -> int:
        """Commit one group of `messages` messages. Returns the number of its events."""
        self._ledger, before = ledger, ledger.head.position
        with ledger.group():
            for _ in range(messages):
                self._next()
        return ledger.head.position - before

    def _next(self) -> None:
        while len(self._open) < AT_ONCE:
            self._open.append(self._batch())
        chosen = self._random.randrange(AT_ONCE)
        if next(self._open[chosen], self) is self:
            self._open[chosen] = self._batch()
            next(self._open[chosen])

    def _batch(self) -> Iterator[None]:
        """The messages of a batch: its request, each of its prompts, its end."""
        self._made += 1
        asked = request(f"{self._seed}-{self._made}", self._made, self._random.randint(1, IMAGES_MAX))
        images = self._submit(asked)
        yield
        for prompt in asked.prompts:
            self._prompt(asked.batch_id, prompt, images)
            yield

    def _submit(self, asked: SubmitBatch) -> tuple[ImageNamed, ...]:
        with self._ledger.message():
            state = self._ledger.load(needs(asked))
            decision = decide(state, asked, NOW_MS, self._ledger.head.position, Policy())
            self._ledger.write(decision.recorded, state, (asked.template, *asked.texts))
        assert isinstance(decision.answer, Accepted)  # noqa: S101
        return decision.answer.images

    def _prompt(self, batch_id: str, prompt: PromptFixed, images: tuple[ImageNamed, ...]) -> None:
        with self._ledger.message():
            state = self._ledger.load((BatchKey(batch_id), *whole_prompt(batch_id, prompt.index)))
            draft = Draft(state, NOW_MS + self._ledger.head.position * 40, self._ledger.head.position)
            attempt = self._tries(draft, batch_id, prompt.index)
            _rendered(draft, batch_id, prompt, attempt)
            for index in prompt.images:
                self._image(draft, batch_id, attempt, images[index - 1])
            draft.settle(batch_id)
            self._ledger.write(tuple(draft.recorded), state, ())

    def _tries(self, draft: Draft, batch_id: str, prompt: int) -> int:
        if self._random.random() >= 0.03:
            return 1
        draft.emit(PromptSubmitting(batch_id, prompt, 1, prompt_uuid(batch_id, prompt, 1), "main"))
        draft.emit(PromptAccepted(batch_id, prompt, 1))
        draft.emit(PromptFailed(batch_id, prompt, 1, "out_of_memory", True))
        return 2

    def _image(self, draft: Draft, batch_id: str, attempt: int, image: ImageNamed) -> None:
        md5 = hashlib.md5(image.public_id.encode(), usedforsecurity=False).hexdigest()
        about = (batch_id, image.prompt, attempt, image.index, image.public_id)
        draft.emit(ImageKept(*about, md5 * 2, md5, BYTES, 1024, 1024, "png"))
        draft.emit(UploadStarted(batch_id, image.index, STORE.name, 1))
        named = (batch_id, image.index, image.public_id, STORE.name)
        if self._random.random() < 0.02:
            draft.emit(ImageParked(*named, "collision"))
            return
        url = f"https://res.cloudinary.com/demo/image/upload/v1700000000/{image.public_id}.png"
        draft.emit(ImageUploaded(*named, url, details={"bytes": BYTES, "etag": md5}))


def _rendered(draft: Draft, batch_id: str, prompt: PromptFixed, attempt: int) -> None:
    about = (batch_id, prompt.index, attempt)
    draft.emit(PromptSubmitting(*about, prompt_uuid(*about), "main"))
    draft.emit(PromptAccepted(*about))
    folder = f"comfyledger/{batch_id}"
    draft.emit(PromptFinished(*about, tuple(OutputFile(f"1-a1_{i:05}_.png", folder, "output") for i in prompt.images)))


def request(name: str, number: int, quantity: int) -> SubmitBatch:
    """A batch of `images` images for one of the users and characters, which take turns."""
    user, character = f"User {number % USERS}", f"Character {number // USERS % CHARACTERS}"
    firsts = range(1, quantity + 1, A_PROMPT)
    texts = tuple(blob_of(f"a portrait of {character}, {first}".encode() * 4, name.encode()) for first in firsts)
    prompts = tuple(
        PromptFixed(place, tuple(range(first, min(first + A_PROMPT, quantity + 1))), first, "main", text.digest)
        for place, (first, text) in enumerate(zip(firsts, texts, strict=True), 1)
    )
    return SubmitBatch(
        label="bench",
        request_id=name,
        request_digest=hashlib.sha256(name.encode()).hexdigest(),
        batch_id=f"01JD{next(_made):022}",
        username=user,
        user_key=fold(user),
        character=character,
        premade=True,
        series=(series_of(Templates(), user, character, True),),
        media=("image",),
        prompts=prompts,
        workflow="portrait",
        template=GRAPH,
        plan=PLAN,
        stores=(STORE,),
        priority=1,
        texts=texts,
        trust=True,
    )
