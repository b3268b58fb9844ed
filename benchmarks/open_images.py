"""What one report costs while much is open: 100,000 images of 1,000 users, compared with 10 images of one user.

    python benchmarks/open_images.py --images 100000 --users 1000 --rounds 3

Only the index of open work is measured, because nothing else could grow. A report changes rows, the index takes the
rows and says which effects are owed now. `append.py` measures the disk.
"""

from __future__ import annotations

import argparse
import time
from typing import Final

from comfyledger.core.events import BatchRequested, Event, PromptAccepted, PromptLost, PromptSubmitting, Recorded
from comfyledger.core.evolve.evolve import evolve
from comfyledger.core.rows import Row, Slice
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import SubmitPrompt
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import ImageNamed, OutputNamed, PromptFixed, StoreRef, prompt_uuid
from measured import in_turns, line, say

REPORTS: Final = 6_000
A_BATCH: Final = 50
AGE_MS: Final = 100_000
"""A time after every delay, so that nothing that began earlier still waits."""
FEW: Final = 10
STORE: Final = StoreRef("folder", "folder:/images")


def requested(batch_id: str, user: str, images: int) -> BatchRequested:
    named = tuple(
        ImageNamed(n, n, f"{user}/characters/c/images", f"{user}_c_image_{n}", n) for n in range(1, images + 1)
    )
    prompts = tuple(PromptFixed(n, (n,), n, "main", None) for n in range(1, images + 1))
    series = f"{user}/characters/c/images/{user}_c_image_"
    return BatchRequested(
        batch_id=batch_id,
        label="bench",
        request_id=batch_id,
        request_digest="",
        username=user,
        user_key=user,
        character="c",
        premade=False,
        series=series,
        workflow="",
        template="t",
        plan={},
        outputs=(OutputNamed("9", "image", series),),
        images=named,
        prompts=prompts,
        stores=(STORE,),
        priority=1,
    )


class Load:
    """An index with `images` open images, and reports about one prompt after the other."""

    def __init__(self, images: int, users: int) -> None:
        self._state, self._owed, self._now = Slice(), PendingWork(Limits()), 0
        size = min(images, A_BATCH)
        self._batches = [f"b{number}" for number in range(images // size)]
        for number, batch_id in enumerate(self._batches):
            self._owed.apply(self._happen(requested(batch_id, f"user{number % users}", size)), 0)
        self._size = size

    def _happen(self, event: Event) -> tuple[Row, ...]:
        rows = evolve(self._state, Recorded(0, 0, event))
        self._state.put(rows)
        self._state.changed.clear()
        return rows

    def us_a_report(self) -> float:
        """Take what is owed. Each prompt that is sent is accepted and lost, and waits again as before."""
        start, reports = time.perf_counter(), 0
        while reports < REPORTS:
            self._now += AGE_MS
            for effect in self._owed.take(self._now):
                if isinstance(effect, SubmitPrompt):
                    about = (effect.batch_id, effect.prompt, effect.attempt)
                    reports += 3
                    self._report(PromptSubmitting(*about, prompt_uuid(*about), "main"))
                    self._report(PromptAccepted(*about))
                    self._report(PromptLost(*about))
                self._owed.done(effect.key, self._now)
        return 1e6 * (time.perf_counter() - start) / reports

    def _report(self, event: Event) -> None:
        self._owed.apply(self._happen(event), self._now)
        self._owed.wake_at_ms(self._now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    many, few = Load(given.images, given.users), Load(FEW, 1)
    took, least = in_turns(given.rounds, many.us_a_report, few.us_a_report)
    say(line("open_images.report", took, least, "us", peer=f"{FEW} open images: {least:.0f} us"))


if __name__ == "__main__":
    main()
