"""Laws of masking: no secret is in a text that is kept, spelled out, as JSON spells it, or cut by a bound."""

from __future__ import annotations

import json

import pytest

from comfyledger.workers.reporting import SECRET_CHARS_MIN, Secrets

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
