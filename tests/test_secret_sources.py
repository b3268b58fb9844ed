"""Where secrets are is written in the configuration, and never the secret itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger import settings
from comfyledger.errors import Refused
from comfyledger.settings import read_secret
from comfyledger.settings.showing import as_toml

KEY = "sk-1234567890"


def test_a_secret_is_read_from_each_kind_of_place_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = {"MY_KEY": KEY, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    for source in ("env:MY_KEY", f"file:{tmp_path / 'key'}", "credential:key"):
        assert read_secret(source, environ) == KEY
        assert KEY not in repr(read_secret(source, environ))


@pytest.mark.parametrize("source", ["env:NONE", "env:EMPTY", "file:/none/there", "credential:none"])
def test_a_secret_that_is_not_there_is_refused_at_the_start(source: str) -> None:
    with pytest.raises(Refused) as caught:
        read_secret(source, {"EMPTY": " \n"})
    assert caught.value.code == "config_invalid"
    assert caught.value.hint


def test_a_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[comfyui.main]\nextra_data = { api_key_comfy_org = "file:comfy.key" }\n')
    found = settings.load(tmp_path / "config.toml").comfyui["main"].extra_data
    assert found == {"api_key_comfy_org": f"file:{tmp_path / 'comfy.key'}"}


@pytest.mark.parametrize("source", [KEY, "env:", "credential:../other", "vault:x"])
@pytest.mark.parametrize("where", ["comfyui.main.extra_data", "workflows.mine.secrets"])
def test_what_is_no_place_is_a_mistake_and_may_be_a_secret(tmp_path: Path, where: str, source: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'workflows.mine.file = "x.json"\ndefault_workflow = "mine"\n{where}.some = "{source}"\n')
    read = settings.examine(path)
    assert [mistake.path for mistake in read.mistakes] == [f"{where}.some"]
    assert source not in read.mistakes[0].message
    assert source not in as_toml(read)
