"""`fleet init`, `key`, `join`, `status` and `rotate`, which need no daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comfyledger.cli.main import cli
from support.fleet_boxes import Box
from support.ledger_kinds import NEEDS_POSTGRES
from support.ports import closed_port
from support.postgres import shared_cluster

pytestmark = NEEDS_POSTGRES


class Machine:
    """A box as somebody sets it up."""

    def __init__(self, folder: Path, name: str, address: str) -> None:
        self.state = folder / name
        self.config = folder / f"{name}.toml"
        self.box = Box(self.state, address)
        self.config.write_text(
            f'[ledger]\nshared = "{address}"\n[box]\nname = "{name}"\n'
            f'[stores.images]\nkind = "folder"\nroot = "{folder}"\nshared = true\n'
        )

    def run(self, *words: str, given: str = "") -> Result:
        words = ("--state-dir", str(self.state), "fleet", *words, "--config", str(self.config))
        return CliRunner().invoke(cli, words, input=given)

    def well(self, *words: str, given: str = "") -> str:
        result = self.run(*words, given=given)
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture
def two(tmp_path: Path) -> tuple[Machine, Machine]:
    address = shared_cluster().database()
    return Machine(tmp_path, "north", address), Machine(tmp_path, "south", address)


def test_two_boxes_are_set_up_with_a_key_carried_in_a_file(two: tuple[Machine, Machine], tmp_path: Path) -> None:
    north, south = two
    assert "Start the daemon" in north.well("init")
    line = north.well("key")
    assert line.count("\n") == 1, "one line, however wide the terminal is"
    file = tmp_path / "north.key"
    file.write_text(line)
    assert json.loads(south.well("join", "--key-file", str(file), "--json"))["position"] == 1
    assert north.box.in_file() == south.box.in_file()
    south.box.submit("r1", "a text")
    assert "up to position 3" in north.well("join"), "a box that was there before needs no key"


def test_the_key_is_taken_from_standard_input_too(two: tuple[Machine, Machine]) -> None:
    north, south = two
    north.well("init")
    south.well("join", "--key-file", "-", given=north.well("key"))
    assert north.box.in_file() == south.box.in_file()


def test_without_a_key_or_with_half_of_one_a_box_is_refused_and_told_what_to_do(two: tuple[Machine, Machine]) -> None:
    north, south = two
    north.well("init")
    missing = south.run("join")
    assert missing.exit_code != 0
    assert "comfyledger fleet key" in missing.output
    half = south.run("join", "--key-file", "-", given=north.well("key")[:40])
    assert half.exit_code != 0
    assert "bring its whole line" in " ".join(half.output.split())
    assert not south.box.path.exists()


def test_the_status_names_the_boxes_that_still_have_an_older_key(two: tuple[Machine, Machine]) -> None:
    north, south = two
    north.well("init")
    south.well("join", "--key-file", "-", given=north.well("key"))
    assert "Key 1 will be replaced" in north.well("rotate")
    north.box.tend()
    said = " ".join(north.well("status").split())
    assert "key 2" in said
    assert "which these boxes have: south." in said
    south.box.tend()
    assert "older keys" not in north.well("status")


@pytest.mark.parametrize("words", [("init",), ("join",), ("status",), ("rotate",)])
def test_a_database_that_is_away_is_a_refusal_without_its_password(tmp_path: Path, words: tuple[str, ...]) -> None:
    away = Machine(tmp_path, "north", f"postgresql://owner:hidden-word@127.0.0.1:{closed_port()}/x")
    found = away.run(*words)
    assert found.exit_code == 1
    assert "cannot be reached" in found.output
    assert "hidden-word" not in found.output
