"""The options of the object stores: what is accepted, what is refused, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyledger_objects.options import KNOWN, Kind, Options, options_from

KEYS = {"access_key_id": "anna", "secret_access_key": "hidden"}
AZURE = {"bucket": "images", "account_name": "anna"}


def read(kind: Kind = "s3", environment: dict[str, str] | None = None, **given: Any) -> Options:
    return options_from("x", kind, {"bucket": "images", **given}, environment or {})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bucket": ""}, "bucket"),
        ({"bucket": "a/b"}, "bucket"),
        ({"prefix": "a//b"}, "prefix"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": 7}, "prefix"),
        ({"endpoint": "ftp://a"}, "endpoint"),
        ({"endpoint": "https://anna:hidden@a"}, "endpoint"),
        ({"endpoint": "https://a?key=hidden"}, "endpoint"),
        ({"endpoint": "https://:hidden@a"}, "endpoint must be"),
        ({"endpoint": "https://a:99999"}, "endpoint must be"),
        ({"endpoint": "https://a:port"}, "endpoint must be"),
        ({"endpoint": "https://[::1"}, "endpoint must be"),
        ({"endpoint": "https://a b"}, "endpoint must be"),
        ({"endpoint": "https://a?"}, "endpoint must be"),
        ({"endpoint": False}, "endpoint must be"),
        ({"access_key_id": "anna", "secret_access_key": ["hidden"]}, "secret_access_key must be"),
        ({"access_key_id": "anna", "secret_access_key": 7}, "secret_access_key must be"),
        ({**KEYS, "session_token": 7}, "session_token must be"),
        ({"access_key_id": "anna"}, "belong together"),
        ({"secret_access_key": "hidden"}, "belong together"),
        ({"session_token": "hidden"}, "session_token needs"),
        ({**KEYS, "credential": "c"}, "keep one of them"),
        ({"access_key_id": "anna", "credential": "c"}, "CREDENTIALS_DIRECTORY"),
        ({"access_key_id": "anna", "secret_access_key_file": "relative"}, "absolute"),
        ({"access_key_id": "anna", "secret_access_key_file": "/nowhere/at/all"}, "cannot be read"),
        ({"server_side_encryption": "rot13"}, "aes256, aws:kms"),
        ({"server_side_encryption": ["aes256"]}, "server_side_encryption must be"),
        ({"server_side_encryption": False}, "server_side_encryption must be"),
        ({"unsafe_overwrite_check": ["head"]}, "head"),
        ({"kms_key_id": "k"}, "aws:kms"),
        ({"url_template": "http://a/{key}"}, "https"),
        ({"url_template": "https://a/{key}/b"}, "ends in {key}"),
        ({"url_template": "https://a/{other}"}, "ends in {key}"),
        ({"url_template": "https://a/{key.__class__}"}, "ends in {key}"),
        *(({"url_template": f"https://a/{end}"}, "ends in {key}") for end in ("{key[0]}", "{key:.1}", "{key}{key}")),
        ({"url_template": "https://a/{{b}}/{key}"}, "ends in {key}"),
        ({"url_template": "https://a:99999/{key}"}, "ends in {key}"),
        ({"url_template": "https://a{key}"}, "ends in {key}"),
        ({"url_template": "https://a/b c/{key}"}, "ends in {key}"),
        ({"url_template": ["hidden"]}, "url_template must be"),
        ({"url_lifetime_s": 604_801}, "at most 604,800"),
        ({"url_lifetime_s": True}, "whole number"),
        ({"unsafe_overwrite_check": "none"}, "head"),
        ({"uploads_concurrent_max": 0}, "1 to 64"),
        ({"request_timeout_s": 0}, "above 0"),
        ({"buckett": "a"}, "did you mean 'bucket'"),
        ({"account_name": "a"}, "unknown option"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(**given)
    assert str(refused.value).startswith("stores.x: ")
    assert said in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hidden\n")
    here = read(**KEYS, session_token="hidden-token")
    from_file = read(access_key_id="anna", secret_access_key_file=str(file))
    passed = read(environment={"CREDENTIALS_DIRECTORY": str(tmp_path)}, access_key_id="anna", credential="secret")
    for options in (here, from_file, passed):
        assert "hidden" not in repr(options)
        assert "hidden" not in options.masked("the key hidden is wrong")
        assert dict(options.secrets)["secret_access_key"].reveal() == "hidden"
    assert "hidden" not in here.masked("hidden-token")


@pytest.mark.parametrize(
    ("given", "environment", "identity"),
    [
        ({}, {}, "s3:s3.amazonaws.com/images"),
        ({"region": "eu-west-1"}, {}, "s3:s3.amazonaws.com/images"),
        ({"endpoint": "https://s3.eu-west-1.amazonaws.com"}, {}, "s3:s3.amazonaws.com/images"),
        ({"endpoint": "https://S3.Example:443/", "prefix": "/a/b/"}, {}, "s3:s3.example/images/a/b"),
        ({"endpoint": "http://s3.example:9000"}, {}, "s3:s3.example:9000/images"),
        ({}, {"AWS_ENDPOINT_URL": "http://s3.example:9000"}, "s3:s3.example:9000/images"),
    ],
)
def test_one_place_has_one_identity(given: dict[str, Any], environment: dict[str, str], identity: str) -> None:
    assert read(environment=environment, **given).identity == identity


def test_the_places_of_other_kinds_are_others() -> None:
    assert read("gcs").identity == "gcs:storage.googleapis.com/images"
    assert read("azure", account_name="anna").identity == "azure:anna.blob.core.windows.net/images"
    assert read("azure", {"AZURE_STORAGE_ACCOUNT_NAME": "anna"}).identity == read("azure", **AZURE).identity


def test_each_kind_has_its_own_options() -> None:
    with pytest.raises(ValueError, match="account_name is missing"):
        read("azure")
    with pytest.raises(ValueError, match="https"):
        read("gcs", endpoint="http://storage.example")
    assert read("gcs", endpoint="http://127.0.0.1:8000").endpoint
    assert "region" in KNOWN["s3"]
    assert "region" not in KNOWN["azure"]
    assert "service_account_file" in KNOWN["gcs"]


def test_plain_http_is_told_except_on_this_machine() -> None:
    assert read(endpoint="http://s3.example:9000").is_plain
    assert not read(endpoint="http://127.0.0.1:9000").is_plain
    assert not read(endpoint="https://s3.example").is_plain
    assert not read().is_plain
