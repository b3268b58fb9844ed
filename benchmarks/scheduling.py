"""Who is next, compared with the rules of others, in virtual time and with fixed seeds; and what a choice costs.

    python benchmarks/scheduling.py --seeds 9

The setting is in `scheduling_farm.py`. First the rule of SwarmUI must give what a study of the same setting found for
it: else the setting is another one, and nothing is compared. Exits 3 if a bound is missed: see AIMS in `run.py`. The
table on standard error shows medians over all seeds.

Others send a backend one prompt at a time. The daemon sends two, so that a GPU does not wait for the daemon; that makes
single images wait longer. The bounds are for two.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from statistics import median
from typing import Any, Final

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.prompt_queue import PromptQueue
from measured import in_turns, line, say
from run import AIMS, MISSED
from scheduling_farm import (
    BACKENDS,
    CLOSED_IMAGES,
    IMAGE_S,
    LOAD_S,
    SPEEDS,
    Result,
    Rule,
    closed_trace,
    open_trace,
    simulate,
)
from scheduling_rules import Fair, FirstCome, Ours, Pressure, Static, row_of

STUDY_P95_S: Final = 222.0
STUDY_LOADS: Final = 0.142
CLASSES: Final = 20
CHOOSERS: Final = 25
"""Users who each wait in every class, so that as many users wait in a long queue as in a short one."""
FEW: Final = 1_000
MANY: Final = 100_000
BETWEEN_MS: Final = 50
"""Between two ends of prompts: 100 backends of 5 s an image."""
DEPTH: Final = 2
"""Of a backend of the daemon."""
RIVAL: Final = "pressure (SwarmUI)"
RULES: Final[dict[str, tuple[Callable[[], Rule], int]]] = {
    "static round robin": (Static, 1),
    "first come": (FirstCome, 1),
    "fair": (Fair, 1),
    RIVAL: (Pressure, 1),
    "ours, 1 a backend": (lambda: Ours(1), 1),
    "ours": (lambda: Ours(DEPTH), DEPTH),
}
RIVAL_SEEDS: Final = range(1, 10)
"""Waits differ by a tenth from seed to seed; the study had one, which is not known."""


class Choices:
    """A farm that is busy, and a queue that stays as long: whoever is served asks for one more."""

    def __init__(self, queued: int) -> None:
        self._rows: dict[PromptId, PromptRow] = {}
        self._names = [str(place) for place in range(BACKENDS)]
        limits = Limits(dict.fromkeys(self._names, DEPTH))
        self._batches: dict[str, BatchRow] = {}
        self._models: dict[str, str] = {}
        self._queue = PromptQueue(limits, self._batches, self._rows, Fit(limits.every_tag))
        self._there: dict[str, deque[PromptId]] = {name: deque() for name in self._names}
        self._now_ms = 0
        size = queued // (CLASSES * CHOOSERS)
        for key, user in product(range(CLASSES), range(CHOOSERS)):
            batch_id = f"{key} {user}"
            self._batches[batch_id] = row_of(batch_id, f"user {user}")
            self._models[batch_id] = f"class {key}"
        for batch_id in self._batches:
            for index in range(size):
                self._add((batch_id, index))
        self._send()

    def _add(self, prompt: PromptId) -> None:
        self._rows[prompt] = PromptRow(*prompt, (prompt[1],), 1, models=self._models[prompt[0]])
        self._queue.add(self._batches[prompt[0]], self._rows[prompt], self._now_ms)

    def _send(self) -> int:
        sent = 0
        for backend in self._queue.in_turn():
            picked = self._queue.pick(backend, self._now_ms)
            if picked is not None:
                self._queue.count_place(backend, picked, self._now_ms, taken=True)
                self._there[backend].append(picked)
                sent += 1
        return sent

    def us_a_choice(self, choices: int) -> float:
        """Processor time, with the search for the backend. What keeps the queue long is not counted."""
        took_ns = sent = 0
        while sent < choices:
            for backend in self._names:
                if self._there[backend]:
                    self._now_ms += BETWEEN_MS
                    prompt = self._there[backend].popleft()
                    self._queue.count_place(backend, prompt, self._now_ms, taken=False)
                    self._add(prompt)
                    start_ns = time.process_time_ns()
                    sent += self._send()
                    took_ns += time.process_time_ns() - start_ns
        return took_ns / sent / 1_000


def reproduced() -> list[dict[str, Any]]:
    """What the rule of SwarmUI gives, compared with the study."""
    found = [simulate(Pressure(), open_trace(seed), 1) for seed in RIVAL_SEEDS]
    p95_s, loads = median(one.wait_s(0.95) for one in found), median(one.loads_an_image for one in found)
    return [
        line("scheduling.rival.p95", p95_s, STUDY_P95_S, "s", peer=f"study: {STUDY_P95_S} s"),
        line("scheduling.rival.loads", loads, STUDY_LOADS, "loads an image", peer=f"study: {STUDY_LOADS}"),
    ]


def compared(opened: dict[str, list[Result]], closed: dict[str, list[Result]]) -> Iterator[dict[str, Any]]:
    def ratio(name: str, of: Callable[[Result], float], results: dict[str, list[Result]], unit: str) -> dict[str, Any]:
        ours, theirs = (median(map(of, results[rule])) for rule in ("ours", RIVAL))
        return line(f"scheduling.{name}", ours, theirs, unit, peer=f"{RIVAL}: {theirs:,.4g}")

    bound_s = CLOSED_IMAGES * IMAGE_S / sum(SPEEDS) + LOAD_S
    yield ratio("single.p95", lambda one: one.wait_s(0.95), opened, "s")
    yield ratio("single.most", lambda one: one.wait_s(1), opened, "s")
    yield ratio("open.loads", lambda one: one.loads_an_image, opened, "loads an image")
    yield ratio("open.end", lambda one: one.end_s, opened, "s")
    yield ratio("closed.loads", lambda one: one.loads, closed, "loads")
    end_s = median(one.end_s for one in closed["ours"])
    yield line("scheduling.closed.end", end_s, bound_s, "s", floor=f"all backends busy, one load: {bound_s:,.0f} s")


def cost(choices: int, rounds: int) -> Iterator[dict[str, Any]]:
    many, few = Choices(MANY), Choices(FEW)
    gc.collect()
    gc.freeze()  # as the daemon does
    took, least = in_turns(rounds, lambda: many.us_a_choice(choices), lambda: few.us_a_choice(choices))
    yield line("scheduling.choice", took, least, "us", peer=f"{FEW:,} queued: {least:.0f} us")
    yield line("scheduling.choice.growth", took / least, 1, "times", peer=f"{FEW:,} queued")


def table(results: dict[str, dict[str, list[Result]]]) -> Iterator[str]:
    yield f"{'':22}{'all done':>10}{'loads/image':>13}{'single p50':>12}{'p95':>8}{'most':>8}"
    for trace, by_rule in results.items():
        yield f"{trace}:"
        for rule, found in by_rule.items():
            end_s, loads = median(one.end_s for one in found), median(one.loads_an_image for one in found)
            waits_s = [median(one.wait_s(part) for one in found) for part in (0.5, 0.95, 1)]
            words = "".join(f"{wait_s:{width},.0f}" for wait_s, width in zip(waits_s, (12, 8, 8), strict=True))
            yield f"  {rule:20}{end_s:10,.0f}{loads:13.3f}{words}"


def missed(lines: Sequence[dict[str, Any]]) -> list[str]:
    by_name = {one["name"]: one for one in lines}
    found = [aim for aim in AIMS if aim.name in by_name and not aim.holds(by_name[aim.name])]
    return [f"{aim.name}: {by_name[aim.name][aim.of]:g}, not {aim.words}" for aim in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--choices", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    lines = reproduced()
    if not missed(lines):
        seeds = range(1, given.seeds + 1)
        results = {
            f"{name} trace": {
                rule: [simulate(make(), trace(seed), depth) for seed in seeds] for rule, (make, depth) in RULES.items()
            }
            for name, trace in (("open", open_trace), ("closed", closed_trace))
        }
        lines += [*compared(*results.values()), *cost(given.choices, given.rounds)]
        print("\n".join(table(results)), file=sys.stderr)
    for one in lines:
        say(one)
    for words in missed(lines):
        print(f"missed: {words}", file=sys.stderr)
    return MISSED if missed(lines) else 0


if __name__ == "__main__":
    sys.exit(main())
