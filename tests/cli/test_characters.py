"""`characters`: what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfyledger import wire
from comfyledger.cli import base

DEFAULTS = wire.CharacterDefaultsInfo("text-to-image", {"steps": 30}, "a {prompt}")
WHOLE = wire.CharacterInfo("opal-fever", "Opal\x1b[2J Fever", DEFAULTS, DEFAULTS)
LACKS = wire.CharacterInfo("lost", "Lost", DEFAULTS, DEFAULTS, missing={"main": ["ckpt_name is 'x'."]})
UNSEEN = wire.CharacterInfo("new", "New", DEFAULTS, DEFAULTS, unchecked=["main"])


def test_characters_are_listed_over_all_pages_with_what_is_missing(door: Any, run: Any) -> None:
    pages = {
        None: wire.Characters([WHOLE, LACKS], more=True, next_cursor="lost"),
        "lost": wire.Characters([UNSEEN], more=False),
    }
    door.answers["list_characters"] = lambda data: pages[data.get("before")]
    lines = run("characters").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["opal-fever", "text-to-image", "complete"],
        ["lost", "text-to-image", "incomplete"],
        ["new", "text-to-image", "not"],
    ]
    assert lines[1].endswith(r"Opal\x1b[2J Fever")
    assert lines[4] == "lost: main lacks something. ckpt_name is 'x'."
    assert [one["name"] for one in json.loads(run("characters", "--json").stdout)] == ["opal-fever", "lost", "new"]


def test_without_characters_it_says_so(door: Any, run: Any) -> None:
    door.answers["list_characters"] = wire.Characters([], more=False)
    assert run("characters").stdout == "No character is configured.\n"


CHARACTERS = """
    characters_dir = "who"
    [characters.x]
    workflow = "text-to-image"
    inputs = { negativ = "blurry" }
"""


def test_config_check_shows_characters_that_do_not_fit_and_files_that_cannot_be_used(run: Any, tmp_path: Path) -> None:
    config, file = tmp_path / "config.toml", tmp_path / "who" / "torn.toml"
    file.parent.mkdir()
    file.write_text("workflow = ")
    config.write_text(CHARACTERS)
    wrong = run("config", "check", "--config", str(config))
    assert wrong.exit_code == base.REFUSED
    assert "characters.x.inputs.negativ: It does not fit the workflow text-to-image" in " ".join(wrong.output.split())
    config.write_text(CHARACTERS.replace("negativ ", "negative "))
    right = run("config", "check", "--config", str(config))
    assert right.exit_code == base.DONE
    assert f"A character cannot be used: {file}: It is not TOML" in " ".join(right.output.split())
    (problem,) = json.loads(run("config", "check", "--json", "--config", str(config)).stdout)["character_problems"]
    assert str(file) in problem


def test_a_workflow_that_is_not_configured_is_said_once(run: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[characters.x]\nworkflow = "flux"\n[characters.y.own]\nworkflow = "flux"')
    said = json.loads(run("config", "check", "--json", "--config", str(config)).stdout)
    assert [one["path"] for one in said["mistakes"]] == ["characters.x.workflow", "characters.y.own.workflow"]
