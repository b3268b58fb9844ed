"""The environment over the file, all mistakes at once, and the schema that editors check a file with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from comfyledger import settings
from comfyledger.settings.showing import json_schema

ROOT = Path(__file__).parents[1]


def examine(tmp_path: Path, text: str, **environ: str) -> settings.Read:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return settings.examine(path, None, {f"COMFYLEDGER_{name}": value for name, value in environ.items()})


def paths(read: settings.Read) -> list[str]:
    return [one.path for one in read.mistakes]


def test_the_environment_is_put_over_the_file_by_the_type_of_each_key(tmp_path: Path) -> None:
    text = "[door]\nport = 1\n[comfyui.my-box]\nqueue_depth = 2\n[stores.a]\nkind = 'folder'\n"
    read = examine(
        tmp_path,
        text,
        DOOR__PORT="9000",
        DOOR__ALLOWED_HOSTS='["a", "b"]',
        COMFYUI__MY_BOX__URL="http://10.0.0.1",
        STORES__A__ROOT="/pictures",
        SPOOL__PATH="7",
        FIRST_USE="trust",
        URL="http://elsewhere",
        TOKEN="secret",
    )
    found = read.settings
    assert not read.mistakes
    assert (found.door.port, found.door.allowed_hosts, found.first_use) == (9000, ("a", "b"), "trust")
    assert (found.comfyui["my-box"].url, found.comfyui["my-box"].queue_depth) == ("http://10.0.0.1", 2)
    assert (found.stores["a"]["root"], found.spool.path) == ("/pictures", str(tmp_path / "7"))
    assert read.set_by["door.port"] == "COMFYLEDGER_DOOR__PORT"
    assert read.set_by["comfyui.my-box.queue_depth"] == "file"


@pytest.mark.parametrize(
    ("variable", "value", "path", "hint"),
    [
        ("DOOR__PROT", "1", "COMFYLEDGER_DOOR__PROT", "`port`"),
        ("DOR__PORT", "1", "COMFYLEDGER_DOR__PORT", "`door`"),
        ("DOOR__PORT__X", "1", "COMFYLEDGER_DOOR__PORT__X", "config.toml"),
        ("DOOR__PORT", "many", "door.port", "config.toml"),
        ("DOOR__PORT", "70000", "door.port", "config.toml"),
    ],
)
def test_a_variable_that_sets_no_key_is_a_mistake_that_names_it(
    tmp_path: Path, variable: str, value: str, path: str, hint: str
) -> None:
    (mistake,) = examine(tmp_path, "", **{variable: value}).mistakes
    assert (mistake.path, hint in mistake.hint) == (path, True)


def test_no_mistake_hides_another(tmp_path: Path) -> None:
    text = (
        "typo = 1\ndefault_workflow = 'nope'\n[door]\nport = '1'\nhost = '0.0.0.0'\n[limits]\nquantity_max = 0\n"
        "[comfyui.'A b']\nurl = 'x'\n[stores.y]\nroot = '/'\n[workflows.w]\n[naming]\nfile = '{number}'\n"
    )
    assert paths(examine(tmp_path, text)) == [
        *("typo", "door.port", "limits.quantity_max", "comfyui.A b", "workflows.w.file"),
        *("stores.y", "naming.file", "door.host", "door.allowed_hosts", "default_workflow", "comfyui.A b.url"),
    ]


def test_a_refusal_tells_every_mistake_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("a = 1\nb = 2\n")
    with pytest.raises(settings.Invalid) as caught:
        settings.load(path, None, {})
    assert "has 2 mistakes: `a`: This key is unknown. · `b`: This key is unknown." in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["door = 3", "comfyui = []", "[comfyui]\nmain = 1", "stores = 'x'", "[[door]]"])
def test_a_value_where_a_table_belongs_is_a_mistake_and_no_crash(tmp_path: Path, text: str) -> None:
    assert len(examine(tmp_path, text).mistakes) == 1


# ---- for editors


def valid(text: str) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(tomllib.loads(text)))


def test_the_schema_takes_config_toml_and_all_that_it_shows() -> None:
    text = (ROOT / "config.toml").read_text("utf-8")
    assert valid(text)
    assert valid(re.sub(r"(?m)^#(?=\S)", "", text))


@pytest.mark.parametrize("text", ["typo = 1", "[door]\nprot = 1", "[door]\nport = 70000", "source = 'x'", "door = 1"])
def test_the_schema_refuses_what_the_daemon_refuses(text: str) -> None:
    assert not valid(text)


def test_every_key_of_the_schema_that_has_a_sentence_below_it_says_it() -> None:
    definitions: dict[str, Any] = json_schema()["$defs"]
    door = definitions["Door"]["properties"]
    assert door["auth"]["description"].startswith("`none` lets every local program in")
    assert definitions["Spool"]["properties"]["keep_days"]["description"]
