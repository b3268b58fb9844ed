"""Laws of options, secrets and signatures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from comfyledger.plugin_api import Deposit
from comfyledger_cloudinary.account import Options, Secret, options_from, upload_fields

KEY = {"cloud_name": "demo", "api_key": "123", "api_secret": "s3cr3t-abc"}
DEPOSIT = Deposit("B1/1", "Areg/c/images/Areg_c_image_1", "png", Path("x"), "5ha", "md", 9, first_attempt=True)


def opened(given: dict[str, Any] | None = None, **environment: str) -> Options:
    return options_from("pics", KEY if given is None else given, environment)


def identity(options: Options) -> tuple[str, str, str]:
    account = options.account
    return account.cloud_name, account.api_key, account.secret.reveal()


def test_options_alone_are_enough_and_the_environment_is_not_looked_at() -> None:
    options = opened(CLOUDINARY_URL="cloudinary://9:other@Elsewhere", CLOUDINARY_CLOUD_NAME="third")
    assert identity(options) == ("demo", "123", "s3cr3t-abc")
    assert options.account.upload_prefix == "https://api.cloudinary.com"
    assert (options.folder_mode, options.delivery_type, options.uploads_concurrent_max) == ("auto", "upload", 8)


def test_the_url_is_decoded_and_keeps_its_case() -> None:
    assert identity(opened({}, CLOUDINARY_URL="cloudinary://12:a%2Fb%25c@DeMo")) == ("DeMo", "12", "a/b%c")


def test_the_url_may_name_another_address_which_an_option_overrules() -> None:
    url = "cloudinary://12:abc@demo?secure=true&upload_prefix=https://api-eu.cloudinary.com/"
    assert opened({}, CLOUDINARY_URL=url).account.upload_prefix == "https://api-eu.cloudinary.com"
    given = {"upload_prefix": "http://127.0.0.1:8"}
    assert opened(given, CLOUDINARY_URL=url).account.upload_prefix == "http://127.0.0.1:8"


def test_separate_variables_do_as_well() -> None:
    names = {"CLOUDINARY_CLOUD_NAME": "demo", "CLOUDINARY_API_KEY": "1", "CLOUDINARY_API_SECRET": "abc"}
    assert identity(opened({}, **names)) == ("demo", "1", "abc")


@pytest.mark.parametrize(
    ("given", "environment"),
    [
        ({}, {"CLOUDINARY_URL": "cloudinary://1:hidden@demo", "CLOUDINARY_CLOUD_NAME": "other"}),
        ({"cloud_name": "other"}, {"CLOUDINARY_URL": "cloudinary://1:hidden@demo"}),
        ({"api_secret": "hidden"}, {"CLOUDINARY_URL": "cloudinary://1:hidden2@demo"}),
        ({**KEY, "api_secret": "", "url_file": "URL_FILE", "api_key": "7"}, {}),
    ],
)
def test_two_sources_that_disagree_are_an_error(
    given: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("cloudinary://1:hidden@demo")
    given = {key: str(tmp_path / "url") if value == "URL_FILE" else value for key, value in given.items()}
    with pytest.raises(ValueError, match="two different values of") as caught:
        opened(given, **environment)
    assert "hidden" not in str(caught.value)


def test_files_and_credentials_hold_the_secret_or_the_url(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc\n")
    (tmp_path / "url").write_text('CLOUDINARY_URL="cloudinary://123:abc@demo"\n')
    rest = {"cloud_name": "demo", "api_key": "123"}
    where = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    expected = ("demo", "123", "abc")
    assert identity(opened({**rest, "api_secret_file": str(tmp_path / "secret")})) == expected
    assert identity(opened({"url_file": str(tmp_path / "url")})) == expected
    assert identity(opened({**rest, "credential": "secret"}, **where)) == expected
    assert identity(opened({"credential": "url"}, **where)) == expected


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        ({**KEY, "folder_modus": "fixed"}, {}, "unknown option 'folder_modus'; did you mean 'folder_mode'"),
        ({**KEY, "tag": []}, {}, "did you mean 'tags'"),
        ({**KEY, "folder_mode": "odd"}, {}, "folder_mode must be one of auto, dynamic, fixed"),
        ({**KEY, "delivery_type": "public"}, {}, "delivery_type must be one of"),
        ({**KEY, "tags": "one"}, {}, "tags must be a list"),
        ({**KEY, "tags": ["a,b"]}, {}, "without commas"),
        ({**KEY, "context": {"image": "x"}}, {}, "'image' cannot be used"),
        ({**KEY, "context": {"a b": "x"}}, {}, "'a b' cannot be used"),
        ({**KEY, "context": {"a": 1}}, {}, "table of texts"),
        ({**KEY, "uploads_concurrent_max": 0}, {}, "from 1 to 256"),
        ({**KEY, "uploads_concurrent_max": True}, {}, "from 1 to 256"),
        ({**KEY, "send_timeout_s": 0}, {}, "number of seconds"),
        ({**KEY, "upload_prefix": "http://api.example"}, {}, "https://"),
        ({**KEY, "upload_prefix": "ftp://127.0.0.1"}, {}, "https://"),
        ({**KEY, "cloud_name": "../demo"}, {}, "letters, digits"),
        ({**KEY, "url_file": "/x"}, {}, "keep one of them"),
        ({**KEY, "api_secret": ""}, {}, "api_secret is missing"),
        ({}, {}, "cloud_name is missing"),
        ({}, {"CLOUDINARY_URL": "https://1:s3cr3t@demo"}, "must be of the form"),
        ({}, {"CLOUDINARY_URL": "cloudinary://1:s3/cr3t@demo"}, "must be of the form"),
        ({}, {"CLOUDINARY_URL": "cloudinary://[1:s3cr3t@demo"}, "no URL"),
        ({"credential": "x"}, {}, "CREDENTIALS_DIRECTORY"),
        ({"credential": "../x"}, {"CREDENTIALS_DIRECTORY": "/nowhere"}, "not a path"),
        ({"url_file": "/nowhere/at/all"}, {}, "cannot be read"),
        ({"url_file": "secrets/url"}, {}, "absolute path"),
    ],
)
def test_options_that_cannot_be_used_are_a_sentence(
    given: dict[str, Any], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        opened(given, **environment)
    assert words in str(caught.value)
    assert str(caught.value).startswith("stores.pics: ")
    assert "s3" not in str(caught.value)


def test_a_secret_shows_itself_to_nobody() -> None:
    options = opened()
    for shown in (repr(options), str(options), f"{options.account.secret}", repr(vars(Secret).keys())):
        assert "s3cr3t" not in shown
    assert options.account.secret.masked("String to sign - 's3cr3t-abc'") == "String to sign - '****'"


def test_the_fields_are_those_of_the_recipe_in_either_mode() -> None:
    dynamic, fixed = (upload_fields(opened(), mode, DEPOSIT, 1_700_000_000) for mode in ("dynamic", "fixed"))
    common = {
        "public_id": DEPOSIT.public_id,
        "overwrite": "false",
        "type": "upload",
        "context": "sha256=5ha|md5=md|image=B1/1",
        "timestamp": "1700000000",
        "api_key": "123",
    }
    assert {**fixed, "signature": ""} == {**common, "signature": ""}
    more = {"asset_folder": "Areg/c/images", "display_name": "Areg_c_image_1"}
    assert {**dynamic, "signature": ""} == {**common, **more, "signature": ""}
    assert "s3cr3t" not in str(dynamic)


def test_the_signature_is_that_of_the_documentation() -> None:
    given = {**KEY, "tags": ["a&b", "c"], "context": {"k": "a=b|c"}, "delivery_type": "private"}
    fields = upload_fields(opened(given), "dynamic", DEPOSIT, 1_700_000_000)
    signed = {key: value for key, value in fields.items() if key not in {"api_key", "signature"}}
    assert signed["tags"] == "a&b,c"
    assert signed["context"].endswith("|k=a\\=b\\|c")
    assert signed["type"] == "private"
    plain = "&".join(sorted(f"{key}={value}".replace("&", "%26") for key, value in signed.items()))
    assert fields["signature"] == hashlib.sha1(f"{plain}s3cr3t-abc".encode()).hexdigest()


def test_the_algorithm_of_signatures_comes_from_the_options_or_the_url() -> None:
    url = "cloudinary://12:abc@demo?signature_algorithm=sha256&secure=true"
    assert opened({}, CLOUDINARY_URL=url).signature_algorithm == "sha256"
    assert opened({"signature_algorithm": "sha1"}, CLOUDINARY_URL=url).signature_algorithm == "sha1"
    assert opened().signature_algorithm == "sha1"
    assert len(upload_fields(opened({**KEY, "signature_algorithm": "sha256"}), "fixed", DEPOSIT, 1)["signature"]) == 64


@pytest.mark.parametrize(
    "query", ["signature_algorithm=md5", "upload_preset=x", "folder=x", "oauth_token=t", "SECURE=1"]
)
def test_an_unknown_part_of_a_url_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=query.partition("=")[0]) as caught:
        opened({}, CLOUDINARY_URL=f"cloudinary://12:s3cr3t@demo?{query}")
    assert "s3cr3t" not in str(caught.value)


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTP_PROXY": PROXY}, ""),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "localhost,.cloudinary.com"}, ""),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, ""),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, PROXY),
        ({"HTTPS_PROXY": ""}, ""),
    ],
)
def test_the_proxy_of_the_environment_holds_but_for_the_hosts_of_no_proxy(
    environment: dict[str, str], expected: str
) -> None:
    assert opened(**environment).proxy == expected


def test_an_option_overrules_the_environment_and_loopback_needs_no_proxy() -> None:
    assert opened({**KEY, "proxy": "http://mine:1"}, HTTPS_PROXY=PROXY).proxy == "http://mine:1"
    loopback = {**KEY, "upload_prefix": "http://127.0.0.1:8"}
    assert opened(loopback, HTTP_PROXY=PROXY, HTTPS_PROXY=PROXY).proxy == ""
    assert opened({}, CLOUDINARY_URL=f"cloudinary://1:abc@demo?api_proxy={PROXY}").proxy == PROXY


@pytest.mark.parametrize(
    "proxy", ["https://p:1", "socks5://p:1", "http://p", "http://p:x", "http://p:1/x", "http://:1", 7]
)
def test_a_proxy_that_cannot_work_is_refused(proxy: Any) -> None:
    with pytest.raises(ValueError, match="proxy must be"):
        opened({**KEY, "proxy": proxy})
