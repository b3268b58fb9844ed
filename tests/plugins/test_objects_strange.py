"""What an object store meets that nobody expects: keys of other programs, and files of the largest size.

On plain values and on files alone, without a server.
"""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from comfyledger.plugin_api import Deposit, Series
from comfyledger_objects.keys import key_of, name_of, number_in
from comfyledger_objects.uploads import whole


@pytest.mark.parametrize("prefix", ["", "p"])
@pytest.mark.parametrize(
    "leaf", ["b_1.", ".", "..png", "b_1..", ".png", "a b%20#?.png", "b_1.tar.gz", "~x", "\u212bb.PNG"]
)
def test_any_key_has_a_name_that_leads_back_to_it(prefix: str, leaf: str) -> None:
    key = key_of(prefix, f"a/{leaf}", "")
    name = name_of(prefix, key)
    assert name is not None
    assert key_of(prefix, *name) == key


def test_a_key_that_ends_in_a_dot_keeps_its_number() -> None:
    assert number_in(Series("a", "b_"))("a/b_12.") == 12


def test_a_file_that_is_sent_in_one_request_is_in_memory_once(tmp_path: Path) -> None:
    content = bytes(24 * 1_048_576)
    path = tmp_path / "large"
    path.write_bytes(content)
    deposit = Deposit("B1/1", "a/b_1", "png", path, hashlib.sha256(content).hexdigest(), "", len(content), True)
    tracemalloc.start()
    try:
        assert whole(deposit) == content
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1.25 * len(content)
