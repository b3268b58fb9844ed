"""Which addresses may be added as a ComfyUI: those that the operator described, however somebody writes others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger import settings
from comfyledger.settings.backend_urls import backend_url, described, is_allowed

NAMES = "http://gpu-*.example:8188"
FOLDER = "http://10.1.*.*:8188/comfy"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://gpu-1.example:8188", "http://gpu-1.example:8188"),
        ("HTTP://GPU-1.Example:08188/", "http://gpu-1.example:8188"),
        ("http://gpu-1.example:80", "http://gpu-1.example"),
        ("https://gpu-1.example:443/Comfy/", "https://gpu-1.example/Comfy"),
        ("https://gpu-1.example:80", "https://gpu-1.example:80"),
        ("http://[FD00:0::7]:8188/a/b", "http://[fd00::7]:8188/a/b"),
        ("http://localhost:8188", "http://localhost:8188"),
    ],
)
def test_an_address_has_one_spelling(written: str, url: str) -> None:
    assert backend_url(written) == url
    assert backend_url(url) == url


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("gpu-1.example:8188", "begin with http"),
        ("ws://gpu-1.example:8188", "begin with http"),
        ("file:///etc/passwd", "begin with http"),
        ("http://me:secret@gpu-1.example:8188", "names a user"),
        ("http://gpu-1.example:8188@evil.example", "names a user"),
        ("http://evil.example\\@gpu-1.example:8188", "names a user"),
        ("http://gpu-1.example:8188/?x=1", "special character"),
        ("http://gpu-1.example:8188#x", "special character"),
        ("http://gpu-1.example:8188\\.evil.example", "special character"),
        ("http://gpu-1%2eexample:8188", "special character"),
        ("http://gpu-1.example:8188/%2e%2e", "special character"),
        ("http://gpu-1.example:8188/comfy ", "special character"),
        ("http://gpu-1.exa\nmple:8188", "special character"),
        ("http://gpü-1.example:8188", "special character"),
        ("http://gpu-1.example。evil:8188", "special character"),
        ("http://gpu-1.example.:8188", "not valid"),
        ("http://gpu-1..example:8188", "not valid"),
        ("http://:8188", "not valid"),
        ("http://", "not valid"),
        ("http://gpu-1.example:", "not valid"),
        ("http://gpu-1.example:0", "not valid"),
        ("http://gpu-1.example:65536", "not valid"),
        ("http://gpu-1.example:8188:80", "not valid"),
        ("http://[fe80::1%25eth0]:8188", "special character"),
        ("http://[::1:8188", "not valid"),
        ("http://2130706433:8188", "resembles an IPv4"),
        ("http://127.1:8188", "resembles an IPv4"),
        ("http://0x7f.0.0.1:8188", "resembles an IPv4"),
        ("http://10.1.2.0x3:8188", "resembles an IPv4"),
        ("http://010.1.2.3:8188", "resembles an IPv4"),
        ("http://10.1.2.256:8188", "resembles an IPv4"),
        ("http://gpu-1.example:8188/../x", "its path"),
        ("http://gpu-1.example:8188//x", "its path"),
        ("http://gpu-1.example:8188/./x", "its path"),
        ("http://gpu-*.example:8188", "contains"),
        ("http://gpu-1.example:8188/" + "x" * 300, "300 characters"),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_address(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as wrong:
        backend_url(written)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://gpu-1.example:8188", NAMES),
        ("HTTP://GPU-17.EXAMPLE:8188/", NAMES),
        ("http://gpu-1.example:8188/behind/a/proxy", NAMES),
        ("http://10.1.2.3:8188/comfy", FOLDER),
        ("http://10.1.2.3:8188/comfy/a", FOLDER),
        ("https://gpu.example", "https://gpu.example:443"),
        ("http://[fd00:0::7]:8188", "http://[FD00::7]:8188"),
        ("http://gpu-1:8188", "http://gpu-*:8188"),
    ],
)
def test_what_is_described_is_allowed(url: str, entry: str) -> None:
    assert is_allowed(url, ["http://other.example", entry])


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://gpu-1.example.evil.com:8188", NAMES),
        ("http://gpu-1.evil.example:8188", NAMES),
        ("http://evil.gpu-1.example:8188", NAMES),
        ("http://gpu-1.example", NAMES),
        ("http://gpu-1.example:80", NAMES),
        ("http://gpu-1.example:8189", NAMES),
        ("https://gpu-1.example:8188", NAMES),
        ("http://xgpu-1.example:8188", NAMES),
        ("http://gpu-1.examplex:8188", NAMES),
        ("http://10.1.2.3:8188", FOLDER),
        ("http://10.1.2.3:8188/comfyx", FOLDER),
        ("http://10.1.2.3:8188/Comfy", FOLDER),
        ("http://10.1.2.3:8188/x/comfy", FOLDER),
        ("http://10.2.2.3:8188/comfy", FOLDER),
        ("http://110.1.2.3:8188/comfy", FOLDER),
        ("http://10.1.evil.example:8188/comfy", FOLDER),
        ("http://[::ffff:10.1.2.3]:8188/comfy", FOLDER),
        ("http://[::ffff:a01:203]:8188/comfy", FOLDER),
        ("http://[fd00::8]:8188", "http://[fd00::7]:8188"),
        ("http://10.1.2.3:8188", "http://gpu-*:8188"),
    ],
)
def test_what_only_looks_like_it_is_not(url: str, entry: str) -> None:
    assert not is_allowed(url, [entry])


HOOKS = "https://app.example/hooks"


@pytest.mark.parametrize("rest", ["", "/", "/x", "/x/y.z", "/hooks"])
def test_a_prefix_allows_what_is_below_its_path(rest: str) -> None:
    assert is_allowed(HOOKS + rest, [HOOKS])
    assert is_allowed(f"https://app.example:443/hooks{rest}", [f"{HOOKS}/"])


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example",
        "https://app.example/",
        "https://app.example/hooksx",
        "https://app.example/Hooks",
        "https://app.example/x/hooks",
        "https://app.example.evil.com/hooks",
        "https://evil.com/hooks",
        "https://evil.app.example/hooks",
        "https://app.example:8443/hooks",
        "https://app.example:80/hooks",
        "http://app.example/hooks",
        "http://app.example:443/hooks",
        "https://app.example./hooks",
        "https://app.example@evil.com/hooks",
        "https://app.example:443@evil.com/hooks",
        "https://evil.com#@app.example/hooks",
        "https://evil.com\\@app.example/hooks",
        "https://evil.com/https://app.example/hooks",
        "https://app.example\\.evil.com/hooks",
        "https://app.example%2eevil.com/hooks",
        "https://app.example%00.evil.com/hooks",
        "https://app.example\t.evil.com/hooks",
        "https://app.exаmple/hooks",
        "https://app。example/hooks",
        "https://xn--app-7ed.example/hooks",
        "https://app.example//hooks",
        "https://app.example/hooks//x",
        "https://app.example/hooks/..",
        "https://app.example/hooks/../admin",
        "https://app.example/x/../hooks",
        "https://app.example/hooks/./x",
        "https://app.example/hooks/...",
        "https://app.example/hooks/%2e%2e/admin",
        "https://app.example/hooks%2f..%2fadmin",
        "https://app.example/hooks%5c..%5cadmin",
        "https://app.example/hooks\\..\\admin",
        "https://app.example/%68ooks",
        "https://app.example/hooks;x",
        "https://app.example/hooks?x",
        "https://app.example/hooks#x",
        "https:/app.example/hooks",
        "https:///app.example/hooks",
        "https:app.example/hooks",
        "//app.example/hooks",
        " https://app.example/hooks",
        "https://app.example/hooks\r\nHost: evil.com",
    ],
)
def test_a_prefix_allows_nothing_that_only_looks_like_it(url: str) -> None:
    with suppress(ValueError):
        assert not is_allowed(url, [HOOKS])


def test_nothing_is_allowed_unless_it_is_described() -> None:
    assert settings.Backends().allowed == ()
    assert not is_allowed("http://127.0.0.1:8188", settings.Backends().allowed)


LABELS = st.text("abcxyz019-_", min_size=1, max_size=8).filter(lambda text: text.strip("-") == text)


@given(st.lists(LABELS, min_size=1, max_size=5))
def test_a_star_never_reaches_over_a_dot(labels: list[str]) -> None:
    host = ".".join(labels)
    try:
        url = backend_url(f"http://{host}:8188")
    except ValueError:
        return
    fits = len(labels) == 2 and labels[0].startswith("gpu-") and labels[1] == "example"
    assert is_allowed(url, [NAMES]) == fits


# ---- the entries


def mistakes(tmp_path: Path, entry: str) -> list[settings.Mistake]:
    path = tmp_path / "config.toml"
    path.write_text(f"[backends]\nallowed = ['{entry}']\n")
    try:
        settings.load(path, tmp_path / "state")
    except settings.Invalid as invalid:
        return list(invalid.key_mistakes)
    return []


@pytest.mark.parametrize("entry", [NAMES, FOLDER, "https://gpu.example", "http://[fd00::7]:8188", "http://gpu-*"])
def test_entries_that_describe_addresses_are_taken(tmp_path: Path, entry: str) -> None:
    assert mistakes(tmp_path, entry) == []
    assert described(entry).scheme in {"http", "https"}


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "http://*",
        "http://*:8188",
        "http://gpu.*:8188",
        "http://gpu.ex*:8188",
        "http://10.*:8188",
        "http://*.*.*.*:8188",
        "http://gpu-*.3:8188",
        "http://[fd00::*]:8188",
        "http://gpu-1.example:*",
        "http://gpu-1.example:8188/*",
        "gpu-*.example:8188",
        "http://me:secret@gpu-1.example:8188",
        "",
    ],
)
def test_an_entry_that_describes_too_much_or_nothing_is_refused(tmp_path: Path, entry: str) -> None:
    (mistake,) = mistakes(tmp_path, entry)
    assert (mistake.path, "secret" in str(mistake)) == ("backends.allowed", False)
    assert "http://gpu-*.example:8188" in mistake.hint
