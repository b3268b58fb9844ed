"""Laws of secret inputs: taken out of what is stored, put into what is sent, refused in what an app sends."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.graph.secret_inputs import looks_secret
from comfyledger.errors import Refused
from support.graphs import plan_of

KEY = "sk-not-to-be-stored"


def graph_with(**inputs: Any) -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "PaidImage", "inputs": {"image": ["1", 0], "note": "", **inputs}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apikey", "API key", "openai_api_key", "hf_token", "token", "password", "client_secret"),
        *("openaiApiKey", "hfToken", "access_key", "private_key", "auth", "cookie", "cookies", "OPENAI_API_KEY"),
        *("api_key_comfy_org", "aws-secret-access-key", "Authorization", "proxyAuth", "credentials", "apiKey2"),
    ],
)
def test_names_of_keys_are_known(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "tokens", "token_normalization", "key", "text", "seed", "keyframe", "secretary", "monkey"),
        *("trigger_token", "bosToken", "eos_token", "special_token", "max_token", "key_frames", "author", "authentic"),
        *("hotkey", "tokenizer", "keys", "passes", "stream_tokens_to_terminal"),
    ],
)
def test_other_names_are_not_taken_for_keys(name: str) -> None:
    assert not looks_secret(name)


def test_a_named_secret_is_in_the_filled_graph_and_not_in_the_template() -> None:
    graph = graph_with(note=KEY)
    plan = plan_of(graph, secrets=["2.note"])
    template = graphs.as_template(graph, plan)
    assert KEY not in json.dumps(template)
    filled = graphs.fill(template, plan, prefixes=["p"], seed=1, batch_size=1, inputs={}, secrets={"2.note": KEY})
    assert filled["2"]["inputs"] == {"image": ["1", 0], "note": KEY}


def test_texts_that_look_like_keys_are_found_and_taken_out_of_a_copy() -> None:
    graph = graph_with(api_key=KEY, hf_token="", password=["1", 0])
    assert graphs.secrets_in(graph) == {"2.api_key": KEY}
    emptied = graphs.without(graph, ["2.api_key"])
    assert emptied["2"]["inputs"]["api_key"] == ""
    assert graph["2"]["inputs"]["api_key"] == KEY


@pytest.mark.parametrize("value", [["1", 0], 7, 0.5, True, None, "", "  ", "a cat with a key in its mouth"])
def test_a_link_a_number_and_a_sentence_are_no_secrets(value: Any) -> None:
    graphs.check_no_secrets(graph_with(api_key=value))


@pytest.mark.parametrize("value", ["Bearer sk-123", "basic QWxhZGRpbg==", " sk-123 "])
def test_a_key_behind_its_scheme_is_a_secret(value: str) -> None:
    assert graphs.secrets_in(graph_with(authorization=value)) == {"2.authorization": value}


@pytest.mark.parametrize("value", [{"api_key": KEY}, {"a": [{"b": {"hfToken": KEY}}]}, [{"auth": KEY}]])
def test_a_secret_inside_an_object_is_refused(value: Any) -> None:
    with pytest.raises(Refused) as caught:
        graphs.check_no_secrets(graph_with(settings=value))
    assert (caught.value.code, caught.value.path) == ("secret_input", "2.settings")
    assert KEY not in f"{caught.value.message} {caught.value.hint}"


def test_an_apps_graph_with_a_key_is_refused_without_showing_the_key() -> None:
    with pytest.raises(Refused) as caught:
        graphs.check_no_secrets(graph_with(api_key=KEY))
    assert (caught.value.code, caught.value.path) == ("secret_input", "2.api_key")
    assert KEY not in f"{caught.value.message} {caught.value.hint}"
    graphs.check_no_secrets(graph_with(api_key=""))


@pytest.mark.parametrize(("asked", "secrets"), [("2.note", ["2.note"]), ("2.api_key", [])])
def test_a_request_does_not_fill_in_a_secret(asked: str, secrets: list[str]) -> None:
    graph = graph_with(api_key="")
    plan = plan_of(graph, secrets=secrets)
    with pytest.raises(Refused) as caught:
        graphs.check_inputs(graph, plan, {asked: KEY})
    assert (caught.value.code, caught.value.path) == ("secret_input", asked)
    assert KEY not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("secrets", "code"), [(["2.none"], "unknown_input"), (["1.color"], "invalid_field"), (["2.image"], "invalid_field")]
)
def test_only_a_text_of_the_graph_can_be_secret(secrets: list[str], code: str) -> None:
    with pytest.raises(Refused) as caught:
        plan_of(graph_with(), secrets=secrets)
    assert caught.value.code == code


def test_a_named_input_is_not_a_secret_at_the_same_time() -> None:
    with pytest.raises(Refused) as caught:
        plan_of(graph_with(), secrets=["2.note"], inputs={"note": "2.note"})
    assert caught.value.code == "invalid_field"


def test_a_plan_without_secrets_is_written_as_before_there_were_any() -> None:
    plan = plan_of(graph_with())
    assert "secrets" not in msgspec.to_builtins(plan)
