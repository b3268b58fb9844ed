"""A key that stands twice is found in every text, also where one look at the text seems to be enough."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.errors import Refused
from comfyledger.wire.strict import check_once

KEYS = st.sampled_from(["a", "b", ":", 'a":', "\\", "ä", ""])
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(tuple),
    max_leaves=8,
)
"""An object is a tuple of pairs, in which a key may stand twice."""


def written(value: object) -> str:
    match value:
        case tuple():
            return "{" + ", ".join(f"{json.dumps(key)}: {written(one)}" for key, one in value) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case _:
            return json.dumps(value)


def is_doubled(value: object) -> bool:
    match value:
        case tuple():
            keys = [key for key, _ in value]
            return len(set(keys)) < len(keys) or any(is_doubled(one) for _, one in value)
        case list():
            return any(map(is_doubled, value))
        case _:
            return False


@given(VALUES)
def test_a_text_passes_if_no_key_stands_twice_in_an_object(value: object) -> None:
    if is_doubled(value):
        with pytest.raises(Refused, match="occurs twice"):
            check_once(written(value))
    else:
        check_once(written(value))


@pytest.mark.parametrize("text", ['{"a": 1, "\\u0061": 2}', '[{"a": {"b": 1, "b": 2}}]', '{"a": ":", "a": ""}'])
def test_the_same_key_in_another_spelling_stands_twice(text: str) -> None:
    with pytest.raises(Refused):
        check_once(text)
