"""Finding plugins: the bundled one takes the public road, and a broken one is a status."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from comfyledger import plugins
from comfyledger.plugin_api import API_VERSION, Store, hookimpl
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
    assert "No plugin offers stores of kind 'nope'" in opened["c"].problem


class Entry:
    """An entry point as an installed distribution has it."""

    group = "comfyledger"

    def __init__(self, name: str, load: Any) -> None:
        self.name, self.load = name, load


def broken_import() -> Any:
    raise SystemExit("no such SDK")


class Raising:
    @hookimpl
    def comfyledger_stores(self) -> Any:
        raise KeyError("kinds")


class Nothing:
    @hookimpl
    def comfyledger_stores(self) -> Any:
        return 5


class Today:
    COMFYLEDGER_API = API_VERSION

    @hookimpl
    def comfyledger_stores(self) -> Any:
        return {"today": lambda name, options, state_dir: None}


class Odd:
    COMFYLEDGER_API = "two"

    @hookimpl
    def comfyledger_stores(self) -> Any:
        return {"odd": lambda name, options, state_dir: None}


class Fine:
    @hookimpl
    def comfyledger_stores(self) -> Any:
        return {"fine": lambda name, options, state_dir: None}


def test_a_plugin_that_fails_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        Entry("a", broken_import),
        Entry("b", Raising),
        Entry("c", Nothing),
        Entry("d", lambda: 1 / 0),
        Entry("e", Fine),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    with capture_logs() as logs:
        kinds = store_kinds()
    assert list(kinds) == ["fine"]
    assert [one["plugin"] for one in logs if one["event"] == "plugin.broken"] == ["a", "d", "b", "c"]


class Old:
    @hookimpl
    def comfyledger_stores(self) -> Any:
        return {"old": lambda name, options, state_dir: None}


class New:
    COMFYLEDGER_API = API_VERSION + 1

    @hookimpl
    def comfyledger_stores(self) -> Any:
        return {"new": lambda name, options, state_dir: None}


def test_a_plugin_of_another_version_is_a_status_that_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entries = [Entry("shelf", Old), Entry("later", New), Entry("today", Today), Entry("odd", Odd)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    kinds = store_kinds()
    configured = {kind: {"kind": kind} for kind in ("old", "new", "today", "odd")}
    problems = {name: one.problem for name, one in open_stores(kinds, configured, tmp_path).items()}
    assert problems["old"] == (
        "The plugin shelf was written for version 1 of the plugin API and lacks what version 2 asks for: files of "
        "every medium, with any extension of at most 8 characters a-z and 0-9. Update the plugin."
    )
    assert problems["odd"].startswith("The plugin odd was written for version 1 of the plugin API")
    assert problems["new"] == (
        "The plugin later needs version 3 of the plugin API and this comfyledger has version 2: update comfyledger."
    )
    assert problems["today"] == "It is not prepared yet."


async def test_a_store_whose_plugin_is_closed_or_opened_in_pieces_is_a_status(tmp_path: Path) -> None:
    def leaving(name: str, options: Mapping[str, Any], state_dir: Path) -> Store:
        raise SystemExit

    opened = open_stores({"odd": leaving}, {"a": {"kind": "odd"}}, tmp_path)
    assert opened["a"].problem == "SystemExit"
    await opened["a"].close()
