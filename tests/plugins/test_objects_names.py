"""Keys, metadata and addresses of the object stores, on plain values."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comfyledger.plugin_api import Deposit, Series
from comfyledger_objects.addresses import key_of_url, recorded_url
from comfyledger_objects.keys import key_of, name_of, number_in
from comfyledger_objects.metadata import Found, attributes_of, found_from, held, likeness, listed
from comfyledger_objects.options import Options, options_from

SHA, MD5 = "a" * 64, "b" * 32


def options(**more: Any) -> Options:
    return options_from("x", "s3", {"bucket": "images", **more}, {})


def deposit(extension: str = "png") -> Deposit:
    return Deposit("B1/1", "a/b_1", extension, Path("/nowhere"), SHA, MD5, 5, True)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def found(size: int = 5, etag: str = "", **said: str) -> Found:
    return Found("a/b_1.png", size, etag, "", 0, said)


@pytest.mark.parametrize("prefix", ["", "p", "p/q"])
@pytest.mark.parametrize(
    ("public_id", "extension"), [("a/b_1", "png"), ("b.c/d.e_1", "glb"), ("Zoë/日本_1", "x"), ("b_1", ""), (".b_1", "")]
)
def test_a_key_is_read_back_as_the_name_that_it_was_made_of(prefix: str, public_id: str, extension: str) -> None:
    assert name_of(prefix, key_of(prefix, public_id, extension)) == (public_id, extension)


def test_what_is_not_below_the_prefix_and_what_is_a_probe_has_no_name() -> None:
    assert name_of("p", "pq/a.png") is None
    assert name_of("p", "p") is None
    assert name_of("p", "p/.comfyledger-probe/1") is None
    assert name_of("", ".comfyledger-probe/1") is None


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("A/b_7.png", 7),
        ("A/b_7", 7),
        ("a/B_7.PNG", 7),
        ("A/b_7.tar.gz", 7),
        ("A/b_007.png", 7),
        ("A/b_.png", None),
        ("A/b_7x.png", None),
        ("A/c/b_7.png", None),
        ("A/xb_7.png", None),
        ("A/b_1234567890123456.png", None),
        ("A/b_٣.png", None),
    ],
)
def test_the_number_of_a_series_is_read_after_folding(path: str, number: int | None) -> None:
    assert number_in(Series("A", "b_"))(path) == number


def test_a_series_may_have_a_suffix_and_no_folder_and_be_composed_in_another_way() -> None:
    assert number_in(Series("", "b_", "_x"))("b_7_x.png") == 7
    assert number_in(Series("", "b_", "_x"))("b_7.png") is None
    assert number_in(Series("Zo\u00eb", "b_"))("Zoe\u0308/b_7.png") == 7


def test_an_upload_says_what_it_is_and_whose() -> None:
    said = attributes_of(deposit(), options(cache_control="max-age=1", storage_class="STANDARD_IA"))
    assert said == {
        "Content-Type": "image/png",
        "Cache-Control": "max-age=1",
        "Storage-Class": "STANDARD_IA",
        "sha256": SHA,
        "md5": MD5,
        "image": "B1/1",
    }


@pytest.mark.parametrize("extension", ["svg", "html", "txt", "json", "x1234567"])
def test_no_document_is_sent_as_something_that_a_browser_runs(extension: str) -> None:
    said = attributes_of(deposit(extension), options())
    assert said["Content-Type"] == "application/octet-stream"
    assert "Cache-Control" not in said


@pytest.mark.parametrize(
    ("seen", "like"),
    [
        (found(6, sha256=SHA), "other"),
        (found(sha256=SHA), "ours"),
        (found(sha256="c" * 64, etag=f'"{MD5}"'), "other"),
        (found(etag=f'"{MD5}"'), "ours"),
        (found(etag=f'"{MD5.upper()}"'), "ours"),
        (found(etag='"' + "d" * 32 + '"'), "unknown"),
        (found(etag=f'"{MD5}-2"'), "unknown"),
        (found(), "unknown"),
    ],
)
def test_an_etag_proves_that_bytes_are_ours_and_never_that_they_are_not(seen: Found, like: str) -> None:
    assert likeness(seen, 5, SHA, MD5) == like


def test_digests_of_other_programs_are_read_in_whichever_form_they_have() -> None:
    raw, raw_md5 = bytes.fromhex(SHA), bytes.fromhex(MD5)
    for said, said_md5 in ((SHA.upper(), MD5.upper()), (b64(raw), b64(raw_md5)), (f" {SHA} ", f" {MD5} ")):
        one = found(sha256=said, md5=said_md5)
        assert likeness(one, 5, SHA, MD5) == "ours"
        assert (held(one, "a", "png").sha256, held(one, "a", "png").md5) == (SHA, MD5)
    assert likeness(found(sha256=b64(bytes(32))), 5, SHA, MD5) == "other"


@pytest.mark.parametrize("said", ["", "none", "a" * 63, "g" * 64, "sha256:" + SHA, "Zo\u00eb", "YQ==", SHA[:32]])
def test_a_digest_that_is_none_says_nothing(said: str) -> None:
    one = found(sha256=said, md5=said[:31], etag=f'"{MD5}"')
    assert likeness(found(sha256=said), 5, SHA, MD5) == "unknown"
    assert likeness(one, 5, SHA, MD5) == "ours"
    assert (held(one, "a", "png").sha256, held(one, "a", "png").md5) == ("", MD5)


def test_an_object_is_told_as_the_server_describes_it() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    meta = {"path": "a/b_1.png", "size": 5, "e_tag": None, "version": None, "last_modified": at}
    seen = held(found_from(meta, {"SHA256": SHA, "Md5": MD5, "image": "B1/1"}), "a/b_1", "png")
    assert (seen.public_id, seen.extension, seen.size_bytes) == ("a/b_1", "png", 5)
    assert (seen.sha256, seen.md5, seen.image_id) == (SHA, MD5, "B1/1")
    assert held(found(etag=f'"{MD5}"'), "a/b_1", "png").md5 == MD5, "another program's says no more"
    assert held(found(etag='"0x2265361BD4BFC80"'), "a/b_1", "png").md5 == ""
    assert listed(found(etag='"' + "d" * 32 + '"'), "a/b_1", "png").md5 == "", "ours may be encrypted"
    assert seen.created_at_ms == int(at.timestamp()) * 1_000


@pytest.mark.parametrize("key", ["a/b_1.png", "Zoë/a b/c#d?e%20f+g.png"])
def test_a_recorded_address_leads_back_to_its_key_and_to_no_other_place(key: str) -> None:
    plain, public = options(), options(url_template="https://cdn.example/i/{key}")
    assert recorded_url(plain, key) == f"s3://images/{key}"
    assert recorded_url(public, key).startswith("https://cdn.example/i/")
    assert " " not in recorded_url(public, key)
    for one in (plain, public):
        assert key_of_url(one, recorded_url(one, key)) == key
    assert key_of_url(public, recorded_url(plain, key)) == key
    for url in ("", "s3://other/a.png", "https://elsewhere.example/i/a.png", "gs://images/a.png"):
        assert key_of_url(public, url) == ""
