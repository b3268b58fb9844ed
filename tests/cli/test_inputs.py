"""`input`, and `submit` with a file: beside a daemon in this process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from comfyledger.cli import adding, base
from comfyledger.cli.adding import FileToAdd
from comfyledger.cli.typed_values import input_pair, input_values
from comfyledger.client import Client
from comfyledger.wire import FileAsked
from support.door import door as real_door
from support.spool_files import image

__all__ = ["real_door"]

PNG = image()
NAME = f"sha256:{hashlib.sha256(PNG).hexdigest()}"
LOADS = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


async def run(state: Path, *words: str) -> Ended:
    """The command line in a process of its own, because the daemon is in this one."""
    command = [sys.executable, "-m", "comfyledger", "--state-dir", str(state), *words]
    made = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await made.communicate()
    return Ended(made.returncode or 0, out.decode(), err.decode())


@pytest.fixture
def state(real_door: Any) -> Path:
    return Path(real_door.folder / "state")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "portrait.png"
    path.write_bytes(PNG)
    return path


async def test_files_are_added_listed_and_given_up(state: Path, picture: Path) -> None:
    added, again = [await run(state, "input", "add", str(picture)) for _ in range(2)]
    listed = await run(state, "input", "list")
    gone, twice = [await run(state, "input", "forget", NAME) for _ in range(2)]
    empty = await run(state, "input", "list")
    assert added.stdout == f"{NAME}  {picture}\n"
    assert again.stdout == f"{NAME}  {picture}  (known)\n"
    assert listed.stdout.splitlines()[1].split()[:4] == [NAME, "png", "16x16", str(len(PNG))]
    assert listed.stdout.splitlines()[1].endswith("cli")
    assert (gone.exit_code, gone.stdout) == (base.DONE, f"{NAME} is given up.\n")
    assert (twice.exit_code, "input_missing" in twice.stderr) == (base.REFUSED, True)
    assert empty.stdout == "There is no input file.\n"


async def test_a_refused_file_does_not_stop_the_others(state: Path, picture: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.png"
    torn.write_bytes(PNG[:-1])
    ended = await run(state, "input", "add", str(torn), str(tmp_path / "none.png"), str(picture))
    assert (ended.exit_code, ended.stdout) == (base.REFUSED, f"{NAME}  {picture}\n")
    assert f"{torn}:\ninput_broken: truncated: " in ended.stderr
    assert "none.png cannot be read" in ended.stderr
    as_json = json.loads((await run(state, "input", "add", "--json", str(torn), str(picture))).stdout)
    assert [(Path(one["file"]).name, one.get("input"), one.get("error", {}).get("code")) for one in as_json] == [
        ("torn.png", None, "input_broken"),
        ("portrait.png", NAME, None),
    ]


async def test_a_large_file_arrives_whole_and_is_counted(
    state: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "LARGE_BYTES", 10)
    counted: list[int] = []
    monkeypatch.setattr(adding.Progress, "update", lambda self, task, completed: counted.append(completed))
    assert (await adding.add_file(Client(state_dir=state), picture, False)).input == NAME
    assert counted[-1] == len(PNG)


async def test_without_a_daemon_it_says_so(picture: Path, tmp_path: Path) -> None:
    assert (await run(tmp_path, "input", "add", str(picture))).exit_code == base.NO_DAEMON


async def test_submit_adds_a_picture_and_uses_it(real_door: Any, state: Path, picture: Path, tmp_path: Path) -> None:
    graph = tmp_path / "loads.json"
    graph.write_text(json.dumps(LOADS))
    words = ("submit", "Areg", "Opal Fever", "--workflow", str(graph), "--request-id", "r1")
    first = await run(state, *words, "--input", f"1.image=@{picture}", "--json")
    again = await run(state, *words, "--input", f"1.image={NAME}", "--json")
    assert first.exit_code == base.DONE, first.stderr
    batch_id = json.loads(first.stdout)["batch_id"]
    assert json.loads(again.stdout)["batch_id"] == batch_id, "the same request"
    (prompt,) = await real_door.context.reader.prompts(batch_id)
    assert [(load.at, f"sha256:{load.sha256}") for load in prompt.loads] == [("1.image", NAME)]


def test_a_file_of_text_is_its_text_and_any_other_is_an_input_file(tmp_path: Path, picture: Path) -> None:
    text, cut = tmp_path / "p.txt", tmp_path / "cut.txt"
    text.write_text("a red cöat\n", "utf-8")
    cut.write_text("ö" * 65_536, "utf-8")
    (tmp_path / "zeros.txt").write_bytes(b"a\0b")
    assert input_pair(f"p=@{text}") == ("p", "a red cöat")
    assert input_pair(f"p=@{cut}") == ("p", "ö" * 65_536)
    assert input_pair(f"p=@{picture}") == ("p", FileToAdd(picture))
    assert input_pair(f"p=@{tmp_path}/zeros.txt") == ("p", FileToAdd(tmp_path / "zeros.txt"))
    assert input_pair(f"p={NAME}") == ("p", FileAsked(input=NAME))
    assert input_pair("p=sha256:no") == ("p", "sha256:no")
    for part in ("", "12", "AB" * 32, "0" * 65):
        with pytest.raises(click.BadParameter, match="no input file"):
            input_pair(f"p=sha256:{part}")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (NAME, FileAsked(input=NAME)),
        ("image:Areg_opal-fever_image_1", FileAsked(image="Areg_opal-fever_image_1")),
        ("image:Nino K/x", FileAsked(image="Nino K/x")),
        ("image: a fox", "image: a fox"),
        (f'"{NAME}"', NAME),
        ('"image:fox"', "image:fox"),
    ],
)
def test_a_file_may_be_named_and_quotes_make_it_a_text(typed: str, meant: Any) -> None:
    assert input_pair(f"p={typed}") == ("p", meant)
    assert input_values(f"p={typed},7") == ("p", [meant, 7])


def test_a_list_has_files_as_objects_and_texts_in_quotes() -> None:
    assert input_values('p=["image:fox", {"image": "x"}]') == ("p", ["image:fox", {"image": "x"}])
