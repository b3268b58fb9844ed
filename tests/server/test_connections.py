"""How few file descriptors are shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comfyledger.server.connections import ANONYMOUS_MAX, KEPT, ConnectionLimits, connection_limits


def test_with_enough_everybody_has_the_places_that_were_meant() -> None:
    assert connection_limits(600, 600 + 2 * ANONYMOUS_MAX + KEPT) == ConnectionLimits(600, ANONYMOUS_MAX)


@given(st.integers(1, 5_000), st.integers(64, 100_000))
def test_connections_never_take_what_the_rest_of_the_daemon_needs(wanted: int, descriptors: int) -> None:
    found = connection_limits(wanted, descriptors)
    assert found.authenticated + 2 * found.anonymous <= descriptors - min(KEPT, descriptors // 2)
    assert 0 < found.authenticated <= wanted
    assert 0 < found.anonymous <= ANONYMOUS_MAX
