"""Laws of reading the configuration again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from comfyledger.settings import Settings
from comfyledger.workers.process.notify import SILENT
from comfyledger.workers.process.signal_handlers import Load, Reloading
from support.waiting import until


async def test_a_signal_while_the_daemon_starts_is_obeyed_once_it_is_built(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    taken: list[Settings] = []

    async def take_in(load: Load) -> Settings:
        taken.append(load())
        return taken[-1]

    reloading = Reloading(Settings(source=str(file), state_dir=str(tmp_path)), SILENT)
    reloading.begin()
    await asyncio.sleep(0)
    file.write_text('[comfyui.big]\nurl = "http://127.0.0.1:8199"\n')
    reloading.built(take_in)
    await until(lambda: taken, "the file is taken in")
    assert list(taken[0].comfyui) == ["big"]
