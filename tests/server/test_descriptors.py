"""How few file descriptors are shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comfyledger.server.connections import STRANGERS_MAX
from comfyledger.server.descriptors import KEPT, Places, places


def test_with_enough_everybody_has_the_places_that_were_meant() -> None:
    assert places(600, 600 + 2 * STRANGERS_MAX + KEPT) == Places(600, STRANGERS_MAX)


@given(st.integers(1, 5_000), st.integers(64, 100_000))
def test_connections_never_take_what_the_rest_of_the_daemon_needs(wanted: int, descriptors: int) -> None:
    found = places(wanted, descriptors)
    assert found.guests + 2 * found.strangers <= descriptors - min(KEPT, descriptors // 2)
    assert 0 < found.guests <= wanted
    assert 0 < found.strangers <= STRANGERS_MAX
