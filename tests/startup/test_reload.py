"""What a reload takes in besides the ComfyUIs: what may be added, and what no text shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyledger import settings
from comfyledger.core.commands import AddBackend
from comfyledger.errors import Refused
from support.door import Door
from support.waiting import until

ALLOWED = '\n[backends]\nallowed = ["http://127.0.0.1:9"]\n'


async def reload(door: Door, more: str) -> None:
    config = door.folder / "config.toml"
    config.write_text(config.read_text() + more)
    await door.reload.take_in(lambda: settings.load(config))


async def test_what_may_be_added_follows_the_configuration(door: Any) -> None:
    with pytest.raises(Refused, match="may be added"):
        door.context.added.check("gpu", "http://127.0.0.1:9")
    before = (door.folder / "config.toml").read_text()
    await reload(door, ALLOWED)
    door.context.added.check("gpu", "http://127.0.0.1:9")
    await door.context.engine.command(AddBackend("app", "gpu", "http://127.0.0.1:9", (), 0, 0))
    await until(lambda: "gpu" in door.context.comfyui, "it is used")
    assert not door.backends.all["gpu"].wanted.gets_secrets
    await reload(door, 'trusted = ["gpu"]\n')
    assert door.backends.all["gpu"].wanted.gets_secrets
    (door.folder / "config.toml").write_text(before)
    await reload(door, "")
    await until(lambda: "gpu" not in door.context.comfyui, "it is not allowed any more")


async def test_a_key_that_is_new_is_shown_in_no_text(door: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("key-of-a-paid-node")
    await reload(
        door, f'\n[comfyui.paid]\nurl = "http://u:word-of-pass@127.0.0.1:9"\nextra_data = {{ k = "file:{key}" }}\n'
    )
    shown = door.reload._secrets.masked("key-of-a-paid-node, word-of-pass")
    assert shown == "***, ***"


async def test_a_key_that_changed_where_it_is_is_read_again(door: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first-key")
    await reload(door, f'\n[comfyui.paid]\nurl = "http://127.0.0.1:9"\nextra_data = {{ k = "file:{key}" }}\n')
    before = door.backends.all["paid"]
    await reload(door, "")
    assert door.backends.all["paid"] is before
    key.write_text("second-key")
    await reload(door, "")
    assert door.backends.all["paid"].client._extra_data == {"k": "second-key"}
