"""What each ComfyUI has done is counted from commits, and the last hour counts alone."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from comfyledger.core.rows import PromptRow, row_id
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.observers import Committed
from comfyledger.workers.comfyui.throughput import NAMES_MAX, Throughput

AT_A = PromptRow("b", 1, (1,), 0, backend="a")
AT_B = PromptRow("b", 2, (2,), 0, backend="b")


class Clock:
    now_s = 7_000.0

    def __call__(self) -> float:
        return self.now_s


def made(clock: Clock) -> Throughput:
    """`AT_B` is not done."""
    rows = {("b", 2): AT_B}
    return Throughput(lambda batch_id, prompt: rows.get((batch_id, prompt)), clock)


def happen(throughput: Throughput, kind: str, prompt: int, *rows: PromptRow) -> None:
    data = msgspec.json.encode({"batch_id": "b", "prompt": prompt, "attempt": 1}).decode()
    line = Line(1, "b", kind, 1, 0, data, b"")
    throughput(Committed([line], {row_id(row): row for row in rows}, 1, 0.0))


def test_a_run_counts_for_the_backend_that_the_prompt_was_sent_to() -> None:
    throughput = made(Clock())
    happen(throughput, "prompt_finished", 1, AT_A)
    happen(throughput, "prompt_lost", 2)
    happen(throughput, "prompt_finished", 3)
    assert throughput.ended("a") == {"finished": 1, "failed": 0, "refused": 0, "lost": 0, "removed": 0, "moved": 0}
    assert throughput.ended("b")["lost"] == 1
    assert sum(throughput.ended("c").values()) == 0


def test_images_an_hour_are_those_of_the_last_hour_or_projected_since_the_start() -> None:
    clock = Clock()
    throughput = made(clock)
    for _ in range(10):
        happen(throughput, "image_kept", 1, AT_A)
    assert (throughput.images("a"), throughput.images("b")) == (10, 0)
    clock.now_s += 600
    assert throughput.images_per_hour("a") == 60
    clock.now_s += 3_000
    assert throughput.images_per_hour("a") == 10
    happen(throughput, "image_kept", 1, AT_A)
    clock.now_s += 1_800
    assert throughput.images_per_hour("a") == 1
    assert throughput.images_per_hour("b") == 0


def test_no_more_is_kept_than_the_minutes_of_an_hour() -> None:
    clock = Clock()
    throughput = made(clock)
    for _ in range(500):
        clock.now_s += 60
        happen(throughput, "image_kept", 1, AT_A)
    assert throughput.images_per_hour("a") == 61  # the minutes of both ends count
    assert len(throughput._done["a"].minutes) <= 61


def test_of_names_that_come_and_go_the_last_ones_are_kept() -> None:
    throughput = made(Clock())
    for number in range(NAMES_MAX + 5):
        row = PromptRow("b", 1, (1,), 0, backend=f"gpu-{number}")
        happen(throughput, "prompt_finished", 1, row)
        happen(throughput, "image_kept", 3, replace(row, index=3))
    assert len(throughput._done) == NAMES_MAX
    assert (throughput.images("gpu-4"), throughput.images(f"gpu-{NAMES_MAX + 4}")) == (0, 1)
