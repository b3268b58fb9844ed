"""Names and words of any script come through under a locale that knows ASCII alone, or none."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from support.processes import Daemon, House

LOCALES = [
    {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    {"LANG": "xx_YY.ISO-8859-1", "LC_ALL": "xx_YY.ISO-8859-1", "PYTHONUTF8": "0"},
]
USER = "日本"


class Far(House):
    """A house of which every path has letters that ASCII does not know."""

    def __init__(self, folder: Path, locale: dict[str, str]) -> None:
        folder = folder / "Åsa 日本"
        folder.mkdir()
        super().__init__(folder)
        self.locale = locale
        self.daemon = Daemon(folder, folder / "config.toml", self.state)
        self.daemon.cold = True
        self.daemon.environment = locale

    async def said(self, *words: str) -> tuple[int | None, str]:
        """The command line under the same locale: how it ends and what it says."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COMFYLEDGER_")}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "comfyledger", "--state-dir", os.fsencode(self.state), *words),
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            env=environment | self.locale,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode(errors="backslashreplace")


@pytest.mark.parametrize("locale", LOCALES, ids=lambda one: one["LC_ALL"])
async def test_a_batch_comes_through_and_everything_can_be_shown(tmp_path: Path, locale: dict[str, str]) -> None:
    house = Far(tmp_path, locale)
    try:
        await house.begin()
        async with house.app() as app:
            asked = await app.submit("r1", USER)
            (batch,) = await app.settled(asked["batch_id"])
        assert [image["state"] for image in batch["images"]] == ["stored"] * 3
        names = sorted(os.listdir(os.fsencode(house.images / USER / "characters" / "opal-fever" / "images")))
        assert [name.decode() for name in names] == [f"{USER}_opal-fever_image_{number}.png" for number in (1, 2, 3)]
        url = batch["images"][0]["uploads"][0]["url"]
        assert url == (house.images / USER / "characters/opal-fever/images" / names[0].decode()).as_uri()
        name, config = f"{USER}_opal-fever_image_1", ["--config", str(house.folder / "config.toml")]
        export = house.folder / "Ausfuhr ü.jsonl"
        said: dict[str, str] = {}
        for words in (
            *(["status"], ["images"], ["batches"], ["explain", name], ["log", "--json"], ["images", "--json"]),
            *(["doctor", *config], ["audit", *config], ["export", *config, "--out", str(export)], ["export", *config]),
        ):
            code, out = await house.said(*words)
            assert (code, "Traceback" in out) == (0, False), (words, out)
            said[" ".join(words)] = out
        assert name in export.read_text(encoding="utf-8")
        assert name in said["images"] or name.encode("unicode_escape").decode() in said["images"]
        assert house.daemon.errors() == []
    finally:
        house.end()
