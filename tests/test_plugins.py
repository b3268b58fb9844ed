"""Finding plugins: the bundled one takes the public road, and a broken one is a status."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfyledger.plugin_api import Store
from comfyledger.plugins import open_stores, prepared, store_kinds


def test_the_folder_store_is_found_through_its_entry_point() -> None:
    assert "folder" in store_kinds()


async def test_a_store_that_cannot_be_opened_is_a_status_with_its_reason(tmp_path: Path) -> None:
    def broken(name: str, options: Mapping[str, Any], state_dir: Path) -> Store:
        raise ValueError(f"{name} needs a key")

    configured = {"a": {"kind": "folder", "root": str(tmp_path)}, "b": {"kind": "odd"}, "c": {"kind": "nope"}}
    opened = open_stores({**store_kinds(), "odd": broken}, configured, tmp_path)
    assert list(opened) == ["a", "b", "c"]
    assert opened["a"].store is None
    usable = await prepared(opened["a"], timeout_s=5)
    assert usable.store is opened["a"].waiting
    assert (usable.identity, usable.problem) == (f"folder:{tmp_path}", "")
    assert (opened["b"].store, opened["b"].problem) == (None, "b needs a key")
    assert "No plugin brings stores of kind 'nope'" in opened["c"].problem
