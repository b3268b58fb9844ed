"""Laws of the back-off: it doubles, it ends at its cap, and only the caller's jitter spreads it."""

from __future__ import annotations

from comfyledger.core.backoff import backoff


def test_the_delay_doubles_up_to_its_cap() -> None:
    assert [backoff(tries, 0.5, 3.0) for tries in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_any_number_of_tries_has_a_delay() -> None:
    assert backoff(10**9, 1_000, 60_000) == 60_000


def test_jitter_multiplies_the_delay_beyond_the_cap_too() -> None:
    assert [backoff(tries, 1.0, 4.0, jitter=0.5) for tries in (1, 3, 9)] == [0.5, 2.0, 2.0]
