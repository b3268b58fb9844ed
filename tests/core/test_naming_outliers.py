"""Which numbers are no counter's, and that a few of them say so as well as all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.core.naming.names import extremes, is_outlier, outlier_in

NUMBERS = st.one_of(st.integers(1, 200), st.integers(9_900, 10_200), st.integers(1, 10**15 - 1))


@pytest.mark.parametrize(
    ("numbers", "outlier"),
    [
        ((), None),
        ((10_000,), None),
        ((10_001,), (10_001, 0)),
        ((57, 999_999_999_999_998), (999_999_999_999_998, 57)),
        ((57, 20_251_121, 20_251_122), (20_251_121, 57)),
        ((150, 14_000, 20_000), None),
        ((200, 20_000, 2_000_000), None),
        ((200, 20_001), (20_001, 200)),
        ((0, 5), None),
    ],
)
def test_the_lowest_outlier_and_the_number_below_it(numbers: tuple[int, ...], outlier: tuple[int, int] | None) -> None:
    assert outlier_in(numbers) == outlier


@given(st.lists(NUMBERS, max_size=60))
def test_the_extremes_of_each_count_of_digits_say_the_same_as_all(numbers: list[int]) -> None:
    few = extremes(numbers)
    assert len(few) <= 30
    assert set(few) <= set(numbers)
    assert outlier_in(few) == outlier_in(numbers)
    assert max(few, default=0) == max(numbers, default=0)


@given(st.lists(NUMBERS, max_size=30), st.lists(NUMBERS, max_size=30))
def test_extremes_can_be_added_up_in_parts(some: list[int], others: list[int]) -> None:
    assert extremes((*extremes(some), *extremes(others))) == extremes((*some, *others))


@given(NUMBERS, NUMBERS)
def test_of_two_numbers_it_is_the_rule_of_two(one: int, other: int) -> None:
    below, above = sorted((one, other))
    assert is_outlier(below, 0) or (outlier_in((one, other)) is not None) == is_outlier(above, below)
