"""Laws of masking: no secret is in a text that is kept, spelled out, as JSON spells it, or cut by a bound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comfyledger.workers.reporting import NO_SECRETS, PIECE_BYTES, SECRET_CHARS_MIN, Secrets

KEY = 'sk-"quoted"-1234567890'
SECRETS = Secrets({"paid": {"12.api_key": KEY}}, ["comfyui-2345678"])


def test_a_workflow_has_its_own_secrets_and_another_one_none() -> None:
    assert SECRETS.of("paid") == {"12.api_key": KEY}
    assert SECRETS.of("free") == {}


@pytest.mark.parametrize("said", [KEY, json.dumps(KEY), "comfyui-2345678", f"{KEY}{KEY} comfyui-2345678"])
def test_a_secret_is_masked_wherever_it_stands(said: str) -> None:
    masked = SECRETS.masked(f"Value {said} not in list.")
    assert "1234567890" not in masked
    assert "2345678" not in masked
    assert masked.startswith("Value ")
    assert masked.endswith(" not in list.")


@pytest.mark.parametrize("kept", range(SECRET_CHARS_MIN, len(KEY)))
def test_a_secret_that_a_bound_has_cut_is_masked_too(kept: int) -> None:
    assert SECRETS.masked(f"Value {KEY[:kept]}") == "Value ***"


def test_what_holds_no_secret_stays_as_it_is() -> None:
    assert SECRETS.masked("CUDA out of memory") == "CUDA out of memory"
    assert Secrets({"paid": {"1.x": "abc"}}).masked("abc is too short") == "abc is too short"
    assert Secrets({}).masked("") == ""


def test_secrets_do_not_show_themselves() -> None:
    assert KEY not in repr(SECRETS)


@pytest.mark.parametrize("gap", [0, 1, PIECE_BYTES - 9, PIECE_BYTES - 4, PIECE_BYTES + 1])
def test_a_secret_is_found_wherever_it_lies_in_a_text(tmp_path: Path, gap: int) -> None:
    secrets = Secrets({"w": {"1.key": "sk-\u00fc\u00e7-12"}})
    file = tmp_path / "1.txt"
    file.write_bytes(b"x" * gap + "sk-\u00fc\u00e7-12".encode() + b"y" * 9)
    assert secrets.may_be_in(file)
    file.write_bytes(b"x" * gap + "sk-\u00fc\u00e7-13".encode() + b"y" * 9)
    assert not secrets.may_be_in(file)


@pytest.mark.parametrize("body", [b"a\0b", b"\xff\xfe", "\u00fc".encode()[:1]])
def test_what_is_no_text_may_hold_any_secret(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "1.dat"
    file.write_bytes(body)
    assert NO_SECRETS.may_be_in(file)


def test_what_is_hidden_later_is_hidden_for_added_backends_too() -> None:
    secrets = Secrets({"w": {"5.key": "first-key"}})
    masking = secrets.masking_only()
    secrets.hide(["second-key"])
    assert masking.masked("first-key second-key") == "*** ***"
    assert not masking.of("w")
