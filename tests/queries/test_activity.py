"""Laws of activity: it is what the log says, whoever asks how often, and no reading of it is long."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import LogLines, LogWanted
from comfyledger.queries import activity as counting
from comfyledger.queries.activity import activity
from comfyledger.queries.activity_counts import ActivityCounts

HOUR = counting.HOUR_MS
T0 = 1_000 * HOUR
"""A whole hour."""


class Log:
    """A log in memory, and the rows of what is older than it."""

    def __init__(self, page: int = 1_000) -> None:
        self.lines: list[Line] = []
        self.reads: list[LogWanted] = []
        self.rows = 0
        self.page = page

    def happen(self, kind: str, at_ms: int, stream: str = "b1", **data: Any) -> None:
        self.lines.append(Line(len(self.lines) + 1, stream, kind, 1, at_ms, json.dumps(data), b""))

    def image(self, at_ms: int, stream: str = "b1", wait_ms: int = 1_000, backend: str = "main") -> None:
        """One that is asked for, rendered and stored within the same moment."""
        self.happen("batch_requested", at_ms, stream, images=[{}], stores=[{"name": "a"}, {"name": "b"}])
        self.rendered(at_ms + wait_ms, stream, backend)

    def rendered(self, at_ms: int, stream: str = "b1", backend: str = "main") -> None:
        self.happen("prompt_submitting", at_ms, stream, prompt=1, attempt=1, backend=backend)
        self.happen("image_kept", at_ms, stream, prompt=1, attempt=1)
        for store in ("b", "a"):
            self.happen("image_uploaded", at_ms, stream, store=store)

    async def log_lines(self, wanted: LogWanted) -> LogLines:
        self.reads.append(wanted)
        upto = len(self.lines) if wanted.upto is None else wanted.upto
        low = next((one.position for one in self.lines if one.at_ms >= (wanted.since_ms or 0)), upto + 1)
        fits = [one for one in self.lines if low <= one.position <= upto and one.at_ms <= (wanted.until_ms or 0)]
        examined = fits[::-1][: self.page]
        found = [one for one in examined if one.kind in (wanted.kinds or ())]
        last = examined[-1].position if examined else low
        return LogLines(found, last, last > low)

    async def prompt(self, batch_id: str, prompt: int) -> Any:
        self.rows += 1
        return SimpleNamespace(stray=lambda attempt: None, backend="old")

    async def batch(self, batch_id: str) -> Any:
        self.rows += 1
        return SimpleNamespace(at_ms=T0 - 10_000, stores=[SimpleNamespace(name="a")])


class Asked:
    def __init__(self, log: Log) -> None:
        view = SimpleNamespace(epoch="e1")
        self.log = log
        self.context: Any = SimpleNamespace(reader=log, view=view, only=None, activity=ActivityCounts())

    async def __call__(self, now_ms: int, since_ms: int | None = None, step_s: int = 3_600) -> wire.Activity:
        return await activity(self.context, wire.GetActivity(since_ms, None, step_s), now_ms)


async def test_each_step_counts_what_the_log_says_of_it() -> None:
    log = Log()
    log.image(T0 + 1)
    log.image(T0 + 2, "b2", wait_ms=3_000, backend="big")
    log.happen("image_failed", T0 + HOUR, images=[3, 4])
    log.happen("image_parked", T0 + HOUR)
    log.happen("files_waiting", T0 + HOUR, images=[1, 2])
    found = await Asked(log)(T0 + 2 * HOUR - 1, T0)
    first, second = found.buckets
    assert (first.at_ms, first.requested, first.stored, first.backends) == (T0, 2, 2, {"big": 1, "main": 1})
    assert first.wait_ms_median == pytest.approx(1_000, rel=0.05)
    assert first.wait_ms_p95 == pytest.approx(3_000, rel=0.05)
    assert (second.failed, second.parked, second.wait_ms_median, second.backends) == (2, 3, None, {})
    assert not found.more


async def test_what_began_before_the_span_is_found_in_the_rows() -> None:
    log = Log()
    log.happen("image_kept", T0 + 1, prompt=1, attempt=1)
    log.happen("prompt_submitting", T0 + 2, "b2", prompt=1, attempt=1, backend="main")
    log.happen("image_uploaded", T0 + 3, "b3", store="a")
    (bucket,) = (await Asked(log)(T0 + 4, T0)).buckets
    assert (bucket.backends, bucket.stored, log.rows) == ({"old": 1}, 1, 3)
    assert bucket.wait_ms_median == pytest.approx(10_000, rel=0.05)


async def test_hours_that_are_over_are_read_once() -> None:
    log = Log()
    for hour in range(5):
        log.image(T0 + hour * HOUR, f"b{hour}")
    asked = Asked(log)
    now_ms = T0 + 5 * HOUR - 1
    first = await asked(now_ms, T0)
    log.image(now_ms - 1, "late")
    log.reads.clear()
    again = await asked(now_ms, T0)
    assert [one.requested for one in again.buckets] == [1, 1, 1, 1, 2]
    assert again.buckets[:4] == first.buckets[:4]
    assert {one.since_ms for one in log.reads} == {T0 + 4 * HOUR}


async def test_a_log_too_long_to_read_at_once_comes_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "PAGES_MAX", 3)
    log = Log(page=5)
    for hour in range(6):
        log.image(T0 + hour * HOUR + 5, f"b{hour}")
    asked, now_ms = Asked(log), T0 + 6 * HOUR + counting.SETTLED_MS
    seen = [await asked(now_ms, T0) for _ in range(8)]
    assert (seen[0].more, seen[-1].more) == (True, False)
    lengths = [len(one.buckets) for one in seen]
    assert lengths == sorted(lengths)
    assert [one.requested for one in seen[-1].buckets] == [1, 1, 1, 1, 1, 1, 0]
    assert all(one.buckets[-len(seen[0].buckets) :] == seen[0].buckets for one in seen)


async def test_another_label_or_epoch_is_counted_for_itself() -> None:
    asked = Asked(Log())
    asked.log.image(T0)
    now_ms = T0 + 3 * HOUR
    await asked(now_ms, T0)
    asked.context.only, asked.context.reader = "other", Log()
    assert [one.requested for one in (await asked(now_ms, T0)).buckets] == [0, 0, 0]


@pytest.mark.parametrize("since_ms", [T0 + HOUR, T0 - 32 * counting.DAY_MS, T0 - 1_001 * HOUR])
async def test_a_span_that_is_empty_or_too_long_is_refused(since_ms: int) -> None:
    with pytest.raises(Refused) as refused:
        await Asked(Log())(T0 + 1, since_ms)
    assert (refused.value.code, refused.value.path) == ("invalid_field", "$.data.since_ms")
