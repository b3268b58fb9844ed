"""Names are UTF-8 on the disk, also in a Python that would write file names in ASCII."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, hashlib, os, sys
from pathlib import Path
from comfyledger.plugin_api import Deposit, Held, Series, StoreTrouble
from comfyledger_folder.store import FolderStore

assert sys.getfilesystemencoding() == "ascii"
folder = Path(os.fsdecode(sys.argv[1].encode("ascii", "surrogateescape")))
name = "日本/characters/x/images/日本_x_image_1"
root = os.fsencode(folder / "store").decode() + "/Bilder ü"
(folder / "source").write_bytes(b"ours")
sha256, md5 = hashlib.sha256(b"ours").hexdigest(), hashlib.md5(b"ours").hexdigest()

async def main():
    store = FolderStore.open("main", {"root": root}, folder / "state")
    assert store.identity == "folder:" + root, store.identity
    deposit = Deposit("B1/1", name, "png", folder / "source", sha256, md5, 4, True)
    series = Series("日本/characters/x/images", "日本_x_image_")
    stored = await store.put(deposit)
    again = await store.put(deposit)
    other = await store.put(Deposit("B1/2", name, "png", folder / "source", "s", "m", 5, True))
    print(ascii((stored, again.replayed, other.code)))
    assert await store.highest_number(series) == 1
    assert (await store.check(name, "png")).md5 == md5
    assert [held.public_id for held in (await store.page("日本")).held] == [name]
    assert [held.public_id for held in (await store.page("")).held] == [name]
    target = folder / "target"
    target.touch()
    await store.fetch(name, "png", target)
    assert target.read_bytes() == b"ours"
    dated = f"Bilder ü/{name[:-1]}20251122.png"
    (folder / "store").joinpath(os.fsdecode(dated.encode())).touch()
    try:
        await store.highest_number(series)
    except StoreTrouble as trouble:
        assert "日本_x_image_20251122" in trouble.fault.text
    else:
        raise SystemExit("no doubt")
    assert (await store.delete(Held(name, "png", 4, md5, image_id="B1/1"))).found
    os.rename(folder / "store", folder / "away")
    failed = await store.put(deposit)
    print(ascii(failed))
    failed.text.encode()
    await store.close()

asyncio.run(main())
"""


def test_everything_works_where_python_would_write_names_in_ascii(tmp_path: Path) -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "True, 'collision'" in done.stdout
    assert list((tmp_path / "away").iterdir()) == [tmp_path / "away" / "Bilder ü"]
