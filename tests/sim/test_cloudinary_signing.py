"""Whom the stand-in for Cloudinary believes: signatures, Basic, the age of a timestamp, with the real texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from cloudinary.utils import api_sign_request
from hypothesis import given
from hypothesis import strategies as st

from comfyledger.sim.cloudinary.signing import basic_pair, is_signed, refuse_age, sign_answer, string_to_sign
from support.cloudinary_calls import KEY, NOW_S, SECRET, Cloud, picture, running, signed

_KEYS = st.sampled_from(["public_id", "context", "tags", "overwrite", "timestamp"])
_FIELDS = st.dictionaries(_KEYS, st.text("a&=%,é ", max_size=8))


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path / "root") as cloud:
        yield cloud


@given(_FIELDS, st.sampled_from([1, 2]), st.sampled_from(["sha1", "sha256"]))
def test_what_the_official_package_signs_is_believed(fields: dict[str, str], version: int, digest: str) -> None:
    signature = api_sign_request(fields, SECRET, digest, version)
    assert is_signed({**fields, "api_key": KEY, "signature": signature}, signature, SECRET)
    assert not is_signed(fields, signature, SECRET + "x")
    assert not is_signed({**fields, "type": "private"}, signature, SECRET)


def test_an_ampersand_in_a_value_is_written_out_in_version_2_only() -> None:
    fields = {"b": "x&y", "a": "1", "empty": "", "file": "f", "api_key": "k", "resource_type": "raw"}
    assert string_to_sign(fields) == "a=1&b=x%26y"
    assert string_to_sign(fields, 1) == "a=1&b=x&y"


def test_an_answer_is_signed_by_the_rule_of_version_1() -> None:
    wanted = api_sign_request({"public_id": "a&b", "version": 7}, SECRET, signature_version=1)
    assert sign_answer("a&b", 7, SECRET) == wanted


@pytest.mark.parametrize("header", [None, "", "Basic %%%", "Basic /////w==", "Bearer abc"])
def test_what_is_no_basic_header_names_nobody(header: str | None) -> None:
    assert basic_pair(header) is None


def test_a_timestamp_lives_for_one_hour_and_no_longer() -> None:
    assert refuse_age(str(NOW_S), NOW_S + 3600) is None
    told = "Stale request - reported time is 2027-01-15 08:00:00 +0000 which is more than 1 hour ago"
    assert refuse_age(str(NOW_S), NOW_S + 3601) == told
    assert refuse_age("²", NOW_S) == "Invalid timestamp ²"


def test_a_wrong_secret_is_refused_with_what_should_have_been_signed(cloud: Cloud) -> None:
    fields = signed({"public_id": "a/b", "overwrite": "false"}, "another secret")
    answer = cloud.post("upload", [*fields.items(), ("file", ("a.png", picture()))])
    text = f"Invalid Signature {fields['signature']}. "
    text += f"String to sign - 'overwrite=false&public_id=a/b&timestamp={NOW_S}'."
    assert answer.status == 401
    assert answer.json() == {"error": {"message": text}}
    assert answer.headers["X-Cld-Error"] == text
    assert cloud.assets() == {}
    assert SECRET not in answer.data.decode()


def test_a_parameter_that_was_changed_on_the_way_is_refused(cloud: Cloud) -> None:
    fields = signed({"public_id": "a/b", "overwrite": "false"}) | {"overwrite": "true"}
    answer = cloud.post("upload", [*fields.items(), ("file", ("a.png", picture()))])
    assert (answer.status, cloud.assets()) == (401, {})
    assert "overwrite=true&public_id=a/b" in answer.json()["error"]["message"]


def test_a_request_goes_stale_by_the_clock_that_a_test_sets(cloud: Cloud) -> None:
    cloud.control(clock_offset_s=3601)
    stale = cloud.upload(picture(), public_id="a")
    assert stale.status == 400
    assert stale.json()["error"]["message"].startswith("Stale request - reported time is 2027-01-15 08:00:00 +0000")
    cloud.control(clock_offset_s=3600)
    assert cloud.upload(picture(), public_id="a").status == 200


def test_key_and_secret_by_http_basic_are_believed_for_uploads(cloud: Cloud) -> None:
    file = ("file", ("a.png", picture()))
    for secret, status in ((SECRET, 200), ("wrong", 401)):
        headers = urllib3.make_headers(basic_auth=f"{KEY}:{secret}")
        assert cloud.post("upload", [("public_id", "a"), file], headers=headers).status == status


def test_who_does_not_sign_who_is_unknown_and_another_cloud_are_refused(cloud: Cloud) -> None:
    file = ("file", ("a.png", picture()))
    unsigned = cloud.post("upload", [("public_id", "a"), file])
    told = unsigned.json()["error"]["message"]
    assert (unsigned.status, told) == (400, "Upload preset must be specified when using unsigned upload")
    stranger = cloud.post("upload", [*(signed({}) | {"api_key": "7"}).items(), file])
    assert (stranger.status, stranger.json()["error"]["message"]) == (401, "Unknown API key 7")
    assert cloud.get("/v1_1/nowhere/ping").status == 404
    wrong = cloud.get("/v1_1/demo/ping", secret="wrong")
    assert (wrong.status, wrong.json()["error"]["message"]) == (401, "api_secret mismatch")


def test_the_ledger_shows_no_secret(cloud: Cloud) -> None:
    cloud.upload(picture(), public_id="a")
    (entry,) = cloud.ledger()
    assert entry["parameters"] == {"timestamp": str(NOW_S), "public_id": "a"}
