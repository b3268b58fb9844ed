"""What of a configured URL is called, and what of it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.core.urls import reached, shown_url, without_userinfo


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("http://user:secret@box:8188/comfy", "http://***@box:8188/comfy"),
        ("https://secret@box", "https://***@box"),
        ("https://:secret@box", "https://***@box"),
        ("http://u:sec@ret@box", "http://***@box"),
        ("http://u:sec/ret@box", "http://***@box"),
        ("http://u:sec?ret@box", "http://***@box"),
        ("http://u:sec#ret@box", "http://***@box"),
        ("http://[::1]:8188/x?key=secret#secret", "http://[::1]:8188/x?***#***"),
        ("http://box/#secret", "http://box/#***"),
        ("u:secret@box:8188", "***@box:8188"),
        ("ftp://u:secret@box", "ftp://***@box"),
        ("http://u:secret@", "http://***@"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(
    st.text(min_size=8).filter(lambda text: "://" not in text), st.sampled_from(["http://u:{}@box", "http://{}@box"])
)
def test_no_password_is_shown_whatever_it_is_made_of(password: str, url: str) -> None:
    assert shown_url(url.format(password)) == "http://***@box"


@pytest.mark.parametrize(
    ("url", "called", "user", "password"),
    [
        ("http://box:8188/a/", "http://box:8188/a/", "", ""),
        ("http://u%40x:p%2Fw%C3%A4@[::1]:8188", "http://[::1]:8188", "u@x", "p/wä"),
        ("https://token@box", "https://box", "token", ""),
    ],
)
def test_a_url_with_a_user_is_called_without(url: str, called: str, user: str, password: str) -> None:
    assert reached(url) == (called, user, password)


@pytest.mark.parametrize(
    "url",
    ["", "box:8188", "ws://box", "file:///x", "http://", "http://:80", "http://u:p/w@box", "http://box:x", "http://box:99999",
     "http://box:0", "http://bo x", "http://box\r\nX: y", "http://[::1", "HTTP//box", "http://@"],
)  # fmt: skip
def test_what_cannot_be_called_is_said(url: str) -> None:
    with pytest.raises(ValueError):
        reached(url)


def test_a_text_is_shown_without_userinfo() -> None:
    text = 'Cannot connect to "http://u:secret@box/x@y", nor ws://secret@box:1; mail a@b.'
    assert without_userinfo(text) == 'Cannot connect to "http://***@box/x@y", nor ws://***@box:1; mail a@b.'
