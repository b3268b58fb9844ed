"""One check says whether a configuration can be used, to `config check` and to the start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comfyledger import app, settings
from comfyledger.cli import base
from comfyledger.cli.main import cli
from comfyledger.settings import Invalid
from comfyledger.startup.usable import mistakes_of, refuse_mistakes

CLOUD = '[stores.c]\nkind = "cloudinary"\ncloud_name = "demo"\napi_key = "1"\n'
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"api_key": "k", "seed": 1}}}
GRAPH |= {"9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}}


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'state_dir = "state"\n{text}')
    return path


BROKEN = {
    "api_secret_file": (CLOUD + 'api_secret_file = "none"\n', ["stores.c"]),
    "url_file": ('[stores.c]\nkind = "cloudinary"\nurl_file = "none"\n', ["stores.c"]),
    "credential": (CLOUD + 'credential = "none"\n', ["stores.c"]),
    "no secret": (CLOUD, ["stores.c"]),
    "kind": ('[stores.c]\nkind = "nowhere"\n', ["stores.c"]),
    "option": ('[stores.c]\nkind = "folder"\nroot = "x"\nroots = "y"\n', ["stores.c"]),
    "key of env": ('[comfyui.main]\nextra_data = { k = "env:NONE_SUCH" }\n', ["comfyui.main.extra_data.k"]),
    "key of file": ('[comfyui.main]\nextra_data = { k = "file:none" }\n', ["comfyui.main.extra_data.k"]),
    "key of credential": ('[comfyui.main]\nextra_data = { k = "credential:none" }\n', ["comfyui.main.extra_data.k"]),
    "folder for a key": ('[comfyui.main]\nextra_data = { k = "file:." }\n', ["comfyui.main.extra_data.k"]),
    "workflow": ('[workflows.empty-image]\nfile = "none.json"\n', ["workflows.empty-image"]),
    "folder for a workflow": ('[workflows.empty-image]\nfile = "."\n', ["workflows.empty-image"]),
    "secret of a workflow": (
        'default_workflow = "mine"\n[workflows.mine]\nfile = "mine.json"\nsecrets = { "1.api_key" = "env:NONE" }\n',
        ["workflows.mine.secrets.1.api_key"],
    ),
    "secrets that stay in images": (
        'default_workflow = "mine"\n[spool]\nstrip_metadata = false\n[workflows.mine]\nfile = "mine.json"\n',
        ["spool.strip_metadata"],
    ),
    "several": (
        CLOUD + '[comfyui.main]\nextra_data = { k = "env:NONE_SUCH", l = "env:NONE_SUCH_2" }\n',
        ["stores.c", "comfyui.main.extra_data.k", "comfyui.main.extra_data.l"],
    ),
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("COMFYLEDGER_", "CLOUDINARY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_that_config_check_finds_prevents_the_start(tmp_path: Path, case: str) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(GRAPH))
    text, paths = BROKEN[case]
    path = config(tmp_path, text)
    checked = command("config", "check", "--config", str(path), "--json")
    assert [one["path"] for one in json.loads(checked.stdout)["mistakes"]] == paths
    with pytest.raises(Invalid) as caught:
        refuse_mistakes(settings.load(path), {})
    assert [one.path for one in caught.value.key_mistakes] == paths
    assert app.run(settings.load(path)) == base.REFUSED
    assert not (tmp_path / "state").exists()


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.mark.parametrize("token", [b"two\nlines", b"\xff\xfe", "sécret".encode()])
def test_a_token_that_is_none_is_found_before_the_start(tmp_path: Path, token: bytes) -> None:
    found = settings.load(config(tmp_path, ""))
    found.state_path.mkdir()
    found.token_path.write_bytes(token)
    (mistake,) = mistakes_of(found, {})
    assert (mistake.path, str(found.token_path) in mistake.message) == ("state_dir", True)
    assert found.token_path.read_bytes() == token


def test_a_check_makes_no_token_and_a_missing_one_is_no_mistake(tmp_path: Path) -> None:
    found = settings.load(config(tmp_path, ""))
    assert mistakes_of(found, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == []
    assert not found.state_path.exists()


def test_what_is_no_source_of_a_secret_is_said_once_and_not_shown(tmp_path: Path) -> None:
    path = config(tmp_path, '[comfyui.main]\nextra_data = { k = "sk-geheim" }\n')
    checked = command("config", "check", "--config", str(path), "--json")
    assert len(json.loads(checked.stdout)["mistakes"]) == 1
    assert "geheim" not in checked.output


BOM = b"\xef\xbb\xbf"


def test_what_an_editor_of_windows_puts_before_a_text_is_none_of_it(tmp_path: Path) -> None:
    """Configuration, workflow, secrets and tokens."""
    (tmp_path / "mine.json").write_bytes(BOM + json.dumps(GRAPH).encode())
    (tmp_path / "key").write_bytes(BOM + b"sk-1\r\n")
    text = f'state_dir = "state"\n{CLOUD}api_secret_file = "key"\n[comfyui.main]\nextra_data = {{ k = "file:key" }}\n'
    path = tmp_path / "config.toml"
    path.write_bytes(BOM + text.encode() + b'[workflows.empty-image]\nfile = "mine.json"\n')
    found = settings.load(path)
    found.state_path.mkdir()
    found.token_path.write_bytes(BOM + b"secret\r\n")
    found.tokens_path.write_bytes(BOM + b"[]")
    assert mistakes_of(found, {}) == []
    assert settings.read_secret(found.comfyui["main"].extra_data["k"], {}) == "sk-1"
