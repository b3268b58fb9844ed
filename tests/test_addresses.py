"""Hosts and origins: what a header names, and what could stand in none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger import settings
from comfyledger.settings.addresses import host_of, listed_host


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("LocalHost:8189", "localhost"),
        ("[::1]", "::1"),
        ("[::1]:8189", "::1"),
        ("[0:0:0:0:0:0:0:1]:1", "::1"),
        ("box.example:65535", "box.example"),
        ("my_box", "my_box"),
    ],
)
def test_a_host_header_names_a_host(header: str, host: str) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        ":",
        ":8189",
        "[::1].evil.com",
        "[::1]evil.com",
        "[::1",
        "::1",
        "[]",
        "[127.0.0.1]",
        "[::1%25lo]",
        "[::1%lo]",
        "[localhost]",
        "127.0.0.1:80@evil.com",
        "evil.com@127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:80:80",
        "127.0.0.1:000080",
        "localhost.",
        "localhost..",
        ".localhost",
        "localhost/x",
        "localhost?x",
        "localhost#x",
        "localhost\\x",
        "local host",
        "localhost ",
        " localhost",
        "localhost\t",
        "local\x00host",
        "localhost,evil.com",
        "http://localhost",
        "*",
        "löcalhost",
        "ⓛocalhost",
        "127.0.0.1:８０",
        "127.0.0.1%2eevil.com",
    ],
)
def test_what_is_no_host_names_none(header: str) -> None:
    assert host_of(header) == ""


@given(st.text(max_size=40))
def test_whatever_passes_for_this_machine_is_spelled_so(header: str) -> None:
    if host_of(header) in {"localhost", "127.0.0.1"}:
        assert header.lower().partition(":")[0] == host_of(header)


@pytest.mark.parametrize(
    ("entry", "host"),
    [("box.example", "box.example"), ("Box.Example", "box.example"), ("fd00::1", "fd00::1"), ("[FD00::1]", "fd00::1")],
)
def test_a_listed_host_is_as_a_header_would_name_it(entry: str, host: str) -> None:
    assert listed_host(entry) == host


def wrong(tmp_path: Path, key: str, entry: str, section: str = "door") -> list[settings.Mistake]:
    path = tmp_path / "config.toml"
    path.write_text(f"[{section}]\n{key} = ['{entry}']")
    return [one for one in settings.examine(path, None, {}).mistakes if one.path == f"{section}.{key}"]


@pytest.mark.parametrize(
    ("entry", "write"),
    [
        ("box.example:8189", "box.example"),
        ("[::1]:80", "::1"),
        ("https://box.example", "box.example"),
        ("https://user:secret@box.example/path", "box.example"),
        ("box.example/", "box.example"),
        ("box.example.", "box.example"),
        (" box.example", "box.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*", ""),
        ("*.example", ""),
        ("", ""),
        ("0.0.0.0", ""),
        ("::", ""),
        ("a b", ""),
    ],
)
def test_a_host_that_no_header_can_name_is_refused_with_what_to_write(tmp_path: Path, entry: str, write: str) -> None:
    (mistake,) = wrong(tmp_path, "allowed_hosts", entry)
    assert f'"{write}"' in mistake.hint if write else "box.example" in mistake.hint
    assert "secret" not in str(mistake)


@pytest.mark.parametrize(
    ("entry", "write"),
    [
        ("https://app.example/", "https://app.example"),
        ("https://app.example/path?x#y", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("HTTPS://App.Example", "https://app.example"),
        ("https://user:secret@app.example", "https://app.example"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://::1", "http://[::1]"),
        ("http://[0::1]:5173", "http://[::1]:5173"),
        ("https://app.example.", "https://app.example"),
        (" https://app.example", "https://app.example"),
        ("app.example", ""),
        ("//app.example", ""),
        ("*", ""),
        ("https://*.example", ""),
        ("https://", ""),
        ("https://app.example:99999", ""),
        ("https://a.example https://b.example", ""),
        ("", ""),
    ],
)
def test_an_origin_that_no_page_has_is_refused_with_what_to_write(tmp_path: Path, entry: str, write: str) -> None:
    (mistake,) = wrong(tmp_path, "allowed_origins", entry)
    assert f'"{write}"' in mistake.hint if write else "https://app.example" in mistake.hint
    assert "secret" not in str(mistake)


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("allowed_hosts", "box"),
        ("allowed_hosts", "fd00::1"),
        ("allowed_hosts", "[fd00::1]"),
        ("allowed_hosts", "10.0.0.5"),
        ("allowed_origins", "https://app.example"),
        ("allowed_origins", "http://localhost:5173"),
        ("allowed_origins", "http://[::1]:5173"),
        ("allowed_origins", "null"),
        ("allowed_origins", "moz-extension://0d3ecb5c-0b8b-4d0b-9d3f-6d9a4b7f9f66"),
    ],
)
def test_what_a_browser_can_send_is_taken(tmp_path: Path, key: str, entry: str) -> None:
    assert wrong(tmp_path, key, entry) == []


# ---- servers from which inputs are fetched


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("images.example", "https://images.example"),
        ("Images.Example:8443", "https://images.example:8443"),
        ("https://images.example:443", "https://images.example"),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("http://[fd00::7]", "http://[fd00::7]"),
        ("localhost", "https://localhost"),
    ],
)
def test_a_server_of_inputs_is_an_origin(tmp_path: Path, entry: str, origin: str) -> None:
    assert wrong(tmp_path, "url_hosts", entry, "inputs") == []
    assert settings.Inputs(url_hosts=(entry,)).origins == {origin}


@pytest.mark.parametrize(
    ("entry", "write"),
    [
        ("https://images.example/folder", "https://images.example"),
        ("https://me:secret@images.example", "https://images.example"),
        ("ftp://images.example", ""),
        ("*.example", ""),
        ("", ""),
    ],
)
def test_an_entry_that_is_no_server_is_refused_with_what_to_write(tmp_path: Path, entry: str, write: str) -> None:
    (mistake,) = wrong(tmp_path, "url_hosts", entry, "inputs")
    assert f'"{write}"' in mistake.hint if write else "https://images.example" in mistake.hint
    assert "secret" not in str(mistake)
