"""Laws of deliveries: order within a stream, one probe at a time in trouble, nothing skipped, and what is put aside."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from comfyledger.core import webhook_deliveries
from comfyledger.core.webhook_deliveries import (
    PROBE_OTHERS_S,
    REFUSED_MAX,
    RUNNING_MAX,
    WINDOW,
    Deliveries,
    Fault,
    Offered,
)
from comfyledger.core.webhooks import RETRY_FIRST_S, WebhookProgress

DOWN = Fault("endpoint", "http_503", "It answered 503.")
REFUSED = Fault("event", "http_422", "It answered 422.")
GONE = Fault("gone", "http_410", "It answered 410.")
FIRST_MS = int(RETRY_FIRST_S * 1000)


def begun(*streams: str, after: int = 0) -> Deliveries:
    """The events at the positions that follow, each of a stream."""
    made = Deliveries(WebhookProgress("shop", "e", after))
    offer(made, *streams)
    return made


def offer(made: Deliveries, *streams: str) -> None:
    first = made.scanned + 1
    events = [Offered(first + place, stream, 0) for place, stream in enumerate(streams)]
    made.offer(events, made.scanned + len(streams))


def taken(made: Deliveries, now_ms: int = 0) -> list[int]:
    """All that is due now."""
    found = []
    while (position := made.take(now_ms)) is not None:
        found.append(position)
    return found


def restarted(made: Deliveries) -> Deliveries:
    return Deliveries(made.progress())


# ---- order


def test_streams_go_beside_each_other_and_events_of_one_after_each_other() -> None:
    made = begun("a", "a", "b", "a", "b")
    assert taken(made) == [1, 3]
    made.delivered(3, 0)
    assert taken(made) == [5]
    made.delivered(1, 0)
    assert taken(made) == [2]


def test_only_so_many_run_at_the_same_time() -> None:
    made = begun(*(f"s{number}" for number in range(RUNNING_MAX + 2)))
    assert len(taken(made)) == RUNNING_MAX
    made.delivered(1, 0)
    assert taken(made) == [RUNNING_MAX + 1]


def test_the_position_is_that_before_the_oldest_event_that_is_not_delivered() -> None:
    made = begun("a", "b", "c")
    taken(made)
    made.delivered(3, 0)
    assert made.position == 0
    made.delivered(1, 0)
    assert made.position == 1
    made.delivered(2, 0)
    assert made.position == 3


def test_events_that_are_not_wanted_move_the_position_and_are_not_worth_saving() -> None:
    made = Deliveries(WebhookProgress("shop", "e", 4))
    made.offer([], 90)
    assert (made.position, made.is_changed) == (90, False)


def test_the_window_is_bounded_also_by_what_was_delivered_out_of_turn() -> None:
    made = begun("slow", *(f"s{number}" for number in range(WINDOW - 2)))
    assert made.has_room
    offer(made, "last")
    assert not made.has_room
    for position in range(2, WINDOW + 1):
        made.delivered(position, 0)
    assert not made.has_room
    made.delivered(1, 0)
    assert made.has_room


def test_after_a_restart_what_was_delivered_out_of_turn_is_not_delivered_again() -> None:
    made = begun("a", "b", "c")
    taken(made)
    made.delivered(2, 0)
    again = restarted(made)
    offer(again, "a", "b", "c")
    assert taken(again) == [1, 3]


# ---- a fault of the endpoint


def test_a_fault_of_the_endpoint_holds_all_until_its_delay_is_over_and_then_one_is_tried() -> None:
    made = begun("a", "b", "c")
    assert taken(made) == [1, 2, 3]
    for position in (1, 2, 3):
        made.failed(position, DOWN, 1_000, 1.0)
    assert made.wake_at_ms() == 1_000 + FIRST_MS
    assert taken(made, 999 + FIRST_MS) == []
    assert taken(made, 1_000 + FIRST_MS) == [1]


def test_faults_at_the_same_time_count_as_one() -> None:
    made = begun("a", "b", "c")
    taken(made)
    for position in (1, 2, 3):
        made.failed(position, DOWN, 0, 1.0)
    assert made.progress().tries == 1


def test_each_failed_probe_waits_longer_and_the_next_one_tries_another_stream() -> None:
    made = begun("a", "b", "c")
    taken(made)
    for position in (1, 2, 3):
        made.failed(position, DOWN, 0, 1.0)
    now_ms, tried = 0, []
    for expected_ms in (FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS):
        assert made.wake_at_ms() == now_ms + expected_ms
        now_ms += expected_ms
        tried += taken(made, now_ms)
        made.failed(tried[-1], DOWN, now_ms, 1.0)
    assert tried == [1, 2, 3]


def test_a_delivery_ends_the_trouble_and_all_goes_on() -> None:
    made = begun("a", "b")
    taken(made)
    made.failed(1, DOWN, 0, 1.0)
    made.failed(2, DOWN, 0, 1.0)
    assert taken(made, FIRST_MS) == [1]
    made.delivered(1, FIRST_MS)
    assert taken(made, FIRST_MS) == [2]
    assert (made.progress().tries, made.progress().failing_ms, made.progress().code) == (0, 0, "")


def test_it_is_failing_since_the_first_failure_and_after_a_restart_the_next_try_is_at_once() -> None:
    made = begun("a")
    for now_ms in (7, 7 + FIRST_MS):
        taken(made, now_ms)
        made.failed(1, DOWN, now_ms, 1.0)
    assert (made.progress().failing_ms, made.progress().tries) == (7, 2)
    again = restarted(made)
    offer(again, "a", "b")
    assert taken(again, 20_000) == [1]


def test_a_resumed_webhook_tries_at_once_and_days_of_failing_count_anew() -> None:
    made = begun("a")
    taken(made)
    made.failed(1, DOWN, 7, 1.0)
    made.resumed()
    assert made.progress().failing_ms == 0
    assert taken(made, 8) == [1]


def test_what_the_endpoint_asks_for_is_waited_for() -> None:
    made = begun("a")
    taken(made)
    made.failed(1, Fault("endpoint", "http_429", "", retry_after_s=90.0), 0, 1.0)
    assert made.wake_at_ms() == 90_000


def test_while_one_stream_alone_has_failed_another_is_tried_sooner() -> None:
    """Else one event that the endpoint cannot take would hold a lonely new one for hours."""
    made, now_ms = begun("a"), 0
    for _ in range(12):
        now_ms = made.wake_at_ms() or now_ms
        assert taken(made, now_ms) == [1]
        made.failed(1, DOWN, now_ms, 1.0)
    assert (made.wake_at_ms() or 0) - now_ms > 3_600_000
    offer(made, "b")
    assert made.wake_at_ms() == now_ms + int(PROBE_OTHERS_S * 1000)
    now_ms = made.wake_at_ms() or 0
    assert taken(made, now_ms) == [2]
    made.delivered(2, now_ms)
    assert taken(made, now_ms) == [1]


def test_a_gone_endpoint_loses_no_event() -> None:
    made = begun("a", "a")
    taken(made)
    made.failed(1, GONE, 0, 1.0)
    assert (made.position, made.progress().code) == (0, "http_410")
    made.resumed()
    assert taken(made) == [1]


# ---- a fault of one event


def test_a_refused_event_is_put_aside_with_what_follows_in_its_stream_and_others_go_on() -> None:
    made = begun("a", "b", "a", "b", "a")
    assert taken(made) == [1, 2]
    made.failed(1, REFUSED, 0, 1.0)
    offer(made, "a")
    assert [(one.position, one.tries) for one in made.progress().owed] == [(1, 1), (3, 0), (5, 0), (6, 0)]
    made.delivered(2, 0)
    assert taken(made) == [4]
    made.delivered(4, 0)
    assert made.position == 6


def test_what_is_put_aside_is_tried_again_in_its_order() -> None:
    made = begun("a", "a", "a")
    taken(made)
    made.failed(1, REFUSED, 0, 1.0)
    assert made.wake_at_ms() == FIRST_MS
    now_ms = FIRST_MS
    assert taken(made, now_ms) == [1]
    made.failed(1, REFUSED, now_ms, 1.0)
    assert made.wake_at_ms() == now_ms + 2 * FIRST_MS
    now_ms += 2 * FIRST_MS
    for position in (1, 2, 3):
        assert taken(made, now_ms) == [position]
        made.delivered(position, now_ms)
    assert made.progress().owed == ()


def test_what_is_put_aside_survives_a_restart() -> None:
    made = begun("a", "b", "a")
    taken(made)
    made.failed(1, REFUSED, 0, 1.0)
    again = restarted(made)
    assert again.scanned == 1
    offer(again, "b", "a")
    assert taken(again, 0) == [2]
    assert taken(again, FIRST_MS) == [1]
    again.delivered(1, FIRST_MS)
    assert taken(again, FIRST_MS) == [3]


def test_a_probe_with_what_was_put_aside_that_fails_waits_longer_too() -> None:
    made = begun("a", "b")
    taken(made)
    made.failed(1, REFUSED, 0, 1.0)
    made.failed(2, DOWN, 0, 1.0)
    assert taken(made, FIRST_MS) == [1]
    made.failed(1, DOWN, FIRST_MS, 1.0)
    assert taken(made, FIRST_MS) == []
    assert made.wake_at_ms() == FIRST_MS + 2 * FIRST_MS


def test_an_event_that_fails_although_others_are_taken_is_put_aside() -> None:
    made = begun("bad", "b")
    taken(made)
    made.failed(1, DOWN, 0, 1.0)
    made.delivered(2, 10)
    assert taken(made, 20) == [1]
    made.failed(1, DOWN, 30, 1.0)
    assert [one.position for one in made.progress().owed] == [1]
    offer(made, "c")
    assert taken(made, 30) == [3]


@pytest.mark.parametrize("fault", [DOWN, REFUSED])
@pytest.mark.parametrize("hanging", [1, 3])
@pytest.mark.parametrize("restarts", [False, True])
def test_events_that_fail_while_the_others_fill_the_window_are_put_aside(
    fault: Fault, hanging: int, *, restarts: bool
) -> None:
    streams = [f"s{number}" for number in range(WINDOW)]
    made, now_ms, failing = begun(*streams), 0, range(1, hanging + 1)
    while positions := [one for one in taken(made, now_ms) if one not in failing]:
        for position in positions:
            made.delivered(position, now_ms)
    for position in failing:  # they hung so long
        made.failed(position, DOWN, 1, 1.0)
    if restarts:
        made = restarted(made)
        offer(made, *streams)
    assert not made.has_room
    for _ in range(3 * hanging):
        now_ms = max(now_ms, made.wake_at_ms() or now_ms)
        for position in [] if made.has_room else taken(made, now_ms):
            made.failed(position, fault, now_ms, 1.0)
    assert made.has_room
    assert 1 in {one.position for one in made.progress().owed}
    offer(made, "next")
    assert WINDOW + 1 in taken(made, max(now_ms, made.wake_at_ms() or now_ms))


def test_an_event_that_was_left_behind_more_than_a_window_stops_nothing_also_after_a_restart() -> None:
    streams = [f"s{number}" for number in range(WINDOW + 9)]
    made = begun(*streams[: WINDOW - 1])
    assert made.has_room  # so a whole page is offered
    offer(made, *streams[WINDOW - 1 :])
    while positions := [one for one in taken(made) if one != 1]:
        for position in positions:
            made.delivered(position, 0)
    again = restarted(made)
    assert again.has_room
    offer(again, *streams)
    assert (again.has_room, taken(again)) == (False, [1])
    now_ms = 0
    for _ in range(2):
        again.failed(1, DOWN, now_ms, 1.0)
        now_ms = again.wake_at_ms() or now_ms
        taken(again, now_ms)
    assert [one.position for one in again.progress().owed] == [1]
    assert (again.has_room, again.position) == (True, len(streams))


def test_what_the_saved_position_has_passed_takes_no_room() -> None:
    assert Deliveries(WebhookProgress("shop", "e", WINDOW, ahead=tuple(range(1, WINDOW + 1)))).has_room


def test_an_endpoint_that_takes_nothing_has_no_event_put_aside_by_a_full_window() -> None:
    made, now_ms = begun(*(f"s{number}" for number in range(WINDOW))), 0
    for _ in range(3 * WINDOW):
        for position in taken(made, now_ms):
            made.failed(position, DOWN, now_ms, 1.0)
        now_ms = max(now_ms, made.wake_at_ms() or now_ms)
    assert made.progress().owed == ()


def test_an_endpoint_that_refuses_every_stream_is_at_fault_itself() -> None:
    made = begun(*(f"s{number}" for number in range(REFUSED_MAX + 2)))
    for now_ms in range(REFUSED_MAX):
        position = made.take(now_ms)
        assert position is not None
        made.failed(position, REFUSED, now_ms, 1.0)
    assert len(made.progress().owed) == REFUSED_MAX - 1
    assert taken(made, REFUSED_MAX) == []
    assert made.progress().tries == 1


def test_a_webhook_with_as_much_put_aside_as_it_may_waits_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_deliveries, "OWED_MAX", 2)
    made = begun("a", "a", "a", "b")
    assert taken(made) == [1, 4]
    made.failed(1, REFUSED, 0, 1.0)
    assert [one.position for one in made.progress().owed] == [1, 2]
    made.failed(4, REFUSED, 0, 1.0)
    assert (made.position, made.progress().tries) == (2, 1)


def test_slow_events_that_were_put_aside_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_deliveries, "REFUSED_MAX", 100)
    made = begun(*(f"s{number}" for number in range(6)))
    for _ in range(6):
        position = made.take(0)
        assert position is not None
        made.failed(position, REFUSED, 0, 1.0)
    offer(made, "x", "y", "z")
    assert taken(made, 10 * FIRST_MS) == [1, 2, 7, 8]


# ---- nothing is skipped


class Endpoint:
    """Takes or refuses at random; some events are poison for a while."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.taken: list[int] = []
        self.is_down = False

    def answer(self, position: int) -> Fault | None:
        self.is_down = self.random.random() < (0.8 if self.is_down else 0.05)
        if self.is_down:
            return DOWN
        return REFUSED if position % 13 == 0 and self.random.random() < 0.8 else None


@pytest.mark.parametrize("seed", range(30))
def test_whatever_fails_and_whenever_it_restarts_each_event_is_taken_in_its_order(seed: int) -> None:
    endpoint = Endpoint(seed)
    made = Deliveries(WebhookProgress("shop", "e", 0))
    streams = {position: f"s{endpoint.random.randrange(20)}" for position in range(1, 400)}
    now_ms, running = 0, list[int]()
    saved = made.progress()
    while made.position < len(streams) or made.progress().owed:
        while made.has_room and made.scanned < len(streams):
            offer(made, streams[made.scanned + 1])
        running += taken(made, now_ms)
        if endpoint.random.random() < 0.02:  # killed, with what was saved last
            made, running = Deliveries(saved), []
            continue
        if endpoint.random.random() < 0.3:
            saved = made.progress()
        if not running:
            wake_at_ms = made.wake_at_ms()
            assert wake_at_ms is not None, "something is always due"
            assert wake_at_ms > now_ms
            now_ms = wake_at_ms
            continue
        position = running.pop(endpoint.random.randrange(len(running)))
        now_ms += endpoint.random.randrange(50)
        fault = endpoint.answer(position)
        if fault is None:
            endpoint.taken.append(position)
            made.delivered(position, now_ms)
        else:
            made.failed(position, fault, now_ms, endpoint.random.random())
    assert set(endpoint.taken) == set(streams)
    first: dict[str, list[int]] = defaultdict(list)
    for position in dict.fromkeys(endpoint.taken):
        first[streams[position]].append(position)
    assert all(positions == sorted(positions) for positions in first.values())
