"""`token`: what a new token sees, and the key of signed file addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfyledger.server.file_urls import FileUrls
from comfyledger.settings import Door


def test_a_new_token_sees_its_own_label_unless_asked_otherwise(run: Any, tmp_path: Path) -> None:
    for words in (("app",), ("gallery", "--right", "read", "--read-all")):
        assert run("token", "add", *words).exit_code == 0
    listed = {one["label"]: one for one in json.loads(run("token", "list", "--json").stdout)}
    assert {label: (one["right"], one["read_all"]) for label, one in listed.items()} == {
        "app": ("submit", False),
        "gallery": ("read", True),
    }
    table = run("token", "list").stdout
    assert "its own" in table
    assert "all labels" in table


def test_a_new_key_ends_the_addresses_of_files_and_no_token(run: Any, tmp_path: Path) -> None:
    run("token", "rotate")
    token = (tmp_path / "token").read_text()
    assert run("token", "rotate", "--file-urls").exit_code == 0
    urls = FileUrls(b"s" * 32, tmp_path / "file_urls.salt", Door(), lambda: 1e9)
    before = urls.url("http://h", "B/1")
    assert json.loads(run("token", "rotate", "--file-urls", "--json").stdout)["file"].endswith("file_urls.salt")
    urls.refresh()
    assert before != urls.url("http://h", "B/1") != ""
    assert (tmp_path / "token").read_text() == token
    assert (tmp_path / "file_urls.salt").stat().st_mode & 0o777 == 0o600
    refused = run("token", "rotate", "app", "--file-urls")
    assert refused.exit_code == 2
    assert "give no LABEL" in refused.stderr
