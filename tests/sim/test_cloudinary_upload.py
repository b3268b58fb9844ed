"""What the stand-in for Cloudinary does with an upload: names, folders, overwriting, sizes, chunks, delivery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyledger.sim.cloudinary.names import is_true, parse_context, parse_tags
from support.cloudinary_calls import HTTP, Cloud, md5, picture, running, signed


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path / "root") as cloud:
        yield cloud


def message(answer: Any) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["message"]


def test_without_overwriting_the_stored_record_stays_as_it_is(cloud: Cloud) -> None:
    first = cloud.upload(picture(1), public_id="a/b", overwrite="false", context="image=1").json()
    assert (first["etag"], first["bytes"]) == (md5(picture(1)), len(picture(1)))
    again = cloud.upload(picture(2), public_id="a/b", overwrite="false", context="image=2").json()
    assert again.pop("existing") is True
    assert again == first
    assert cloud.assets()["a/b"]["context"] == {"image": "1"}
    assert [(entry["answer"], entry["is_stored"]) for entry in cloud.ledger()] == [("new", True), ("existing", False)]


@pytest.mark.parametrize("overwrite", [{}, {"overwrite": "true"}, {"overwrite": "1"}])
def test_overwriting_keeps_the_asset_id_and_gives_a_new_version(cloud: Cloud, overwrite: dict[str, str]) -> None:
    first = cloud.upload(picture(1), public_id="a").json()
    second = cloud.upload(picture(2), public_id="a", **overwrite).json()
    assert second["overwritten"] is True
    assert second["asset_id"] == first["asset_id"]
    assert second["version"] > first["version"]
    assert second["etag"] == md5(picture(2))
    assert [entry["is_replaced"] for entry in cloud.ledger()] == [False, True]


def test_both_spellings_of_a_boolean_are_known() -> None:
    assert [is_true(text) for text in ("1", "true", "True", "0", "false", "", None)] == [True] * 3 + [False] * 4


def test_fields_may_come_in_any_order(cloud: Cloud) -> None:
    fields = [("file", ("a.png", picture())), *signed({"public_id": "late"}).items()]
    assert cloud.post("upload", fields).json()["public_id"] == "late"
    assert [entry["public_id"] for entry in cloud.ledger()] == ["late"]


def test_an_upload_without_a_kind_is_one_of_an_image(cloud: Cloud) -> None:
    assert cloud.upload(picture(), kind="", public_id="a").json()["resource_type"] == "image"


def test_names_are_cleaned_without_a_word(cloud: Cloud) -> None:
    assert cloud.upload(picture(), public_id=" /a/é 一|x*/ ").json()["public_id"] == "a/é 一_x_"


@pytest.mark.parametrize("name", ["a?b", "a&b", "a#b", "a\\b", "a%b", "a<b", "a>b", "a+b", "v12/b", "x" * 256])
def test_names_that_cannot_be_are_refused(cloud: Cloud, name: str) -> None:
    assert message(cloud.upload(picture(), public_id=name)) == (400, f"public_id ({name}) is invalid")


def test_context_and_tags_are_read_as_they_were_meant() -> None:
    assert parse_context(r"a=1|b=x\|y\=z=w|bad") == {"a": "1", "b": "x|y=z=w"}
    assert parse_tags("a, b,,a") == ["a", "b"]


def test_dynamic_folders_are_said_and_fixed_ones_follow_from_the_name(cloud: Cloud) -> None:
    named = {"public_id": "a/b", "asset_folder": "f", "display_name": "d"}
    dynamic = cloud.upload(picture(), **named).json()
    assert (dynamic["asset_folder"], dynamic["display_name"], "folder" in dynamic) == ("f", "d", False)
    root = cloud.upload(picture(), public_id="a/c").json()
    assert (root["asset_folder"], root["display_name"]) == ("", "c")
    cloud.control(folder_mode="fixed")
    fixed = cloud.upload(picture(), **named | {"public_id": "a/d"}).json()
    assert (fixed["folder"], "asset_folder" in fixed, "display_name" in fixed) == ("a", False, False)


@pytest.mark.parametrize("content", [b"no image at all", picture()[:12]])
def test_what_is_no_image_is_refused_and_leaves_nothing(cloud: Cloud, content: bytes) -> None:
    assert message(cloud.upload(content, public_id="a")) == (400, "Invalid image file")
    assert cloud.assets() == {}
    assert list((cloud.root / "incoming").iterdir()) == []


@pytest.mark.parametrize(("kind", "told"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_an_image_is_measured_by_its_header(cloud: Cloud, kind: str, told: str) -> None:
    answer = cloud.upload(picture(size=(31, 17), kind=kind), public_id="a").json()
    assert (answer["format"], answer["width"], answer["height"]) == (told, 31, 17)


def test_a_file_above_the_plan_is_refused_by_its_size(tmp_path: Path) -> None:
    with running(tmp_path / "root", file_bytes_max=100) as cloud:
        answer = cloud.upload(b"x" * 101, public_id="a")
        assert message(answer) == (400, "File size too large. Got 101. Maximum is 100.")
        assert message(cloud.upload(b"", public_id="a")) == (400, "Empty file")


def test_an_upload_without_a_file_is_refused(cloud: Cloud) -> None:
    assert message(cloud.post("upload", signed({"public_id": "a"}))) == (400, "Missing required parameter - file")


def chunk(cloud: Cloud, content: bytes, first: int, total: int) -> Any:
    span = f"bytes {first}-{first + len(content) - 1}/{total}"
    headers = {"X-Unique-Upload-Id": "u1", "Content-Range": span}
    fields = [*signed({"public_id": "big.bin"}).items(), ("file", ("big.bin", content))]
    return cloud.post("upload", fields, "/raw", headers=headers)


def test_a_chunked_upload_is_whole_with_its_last_chunk(cloud: Cloud) -> None:
    whole = bytes(range(256)) * 4096 * 6
    half = 5 * 1024 * 1024
    assert chunk(cloud, whole[:half], 0, len(whole)).json()["done"] is False
    assert cloud.assets() == {}
    done = chunk(cloud, whole[half:], half, len(whole)).json()
    assert (done["etag"], done["bytes"]) == (md5(whole), len(whole))
    assert [(entry["answer"], entry["is_stored"]) for entry in cloud.ledger()] == [("chunk", False), ("new", True)]
    assert cloud.ledger()[1]["md5"] == md5(whole)


def test_small_chunks_and_impossible_ranges_are_refused(cloud: Cloud) -> None:
    told = (400, "All parts except EOF-chunk must be larger than 5mb")
    assert message(chunk(cloud, b"abc", 0, 6)) == told
    assert message(chunk(cloud, b"abc", 4, 6)) == (400, "Invalid Content-Range")


def test_stored_bytes_are_delivered_with_a_version_and_without(cloud: Cloud) -> None:
    answer = cloud.upload(picture(), public_id="a b/é").json()
    for url in (answer["secure_url"], answer["secure_url"].replace(f"v{answer['version']}/", "")):
        got = HTTP.request("GET", url)
        assert (got.status, got.data, got.headers["Content-Type"]) == (200, picture(), "image/png")
    assert HTTP.request("GET", answer["secure_url"].replace(".png", ".jpg")).status == 404


def test_a_folder_like_a_transformation_needs_the_versioned_address(cloud: Cloud) -> None:
    answer = cloud.upload(picture(), public_id="u_2/a").json()
    assert HTTP.request("GET", answer["secure_url"]).status == 200
    assert HTTP.request("GET", answer["secure_url"].replace(f"v{answer['version']}/", "")).status == 404


def test_a_destroyed_asset_is_gone_once_and_takes_only_its_own_bytes(cloud: Cloud) -> None:
    for name in ("a", "b"):
        cloud.upload(picture(), public_id=name)
    assert cloud.post("destroy", signed({"public_id": "a"})).json() == {"result": "ok"}
    assert cloud.post("destroy", signed({"public_id": "a"})).json() == {"result": "not found"}
    assert HTTP.request("GET", f"{cloud.url}/demo/image/upload/b.png").data == picture()
    cloud.post("destroy", signed({"public_id": "b"}))
    assert [path for path in (cloud.root / "files").rglob("*") if path.is_file()] == []


def test_explicit_changes_what_is_said_and_never_the_bytes(cloud: Cloud) -> None:
    before = cloud.upload(picture(), public_id="a", context="x=1", tags="t").json()
    after = cloud.post("explicit", signed({"public_id": "a", "type": "upload", "context": "y=2"})).json()
    assert after["context"] == {"custom": {"y": "2"}}
    assert (after["tags"], after["etag"], after["version"]) == (["t"], before["etag"], before["version"])
    missing = cloud.post("explicit", signed({"public_id": "z", "type": "upload"}))
    assert message(missing) == (404, "Resource not found - z")


def test_an_account_that_transforms_at_ingest_stores_other_bytes(cloud: Cloud) -> None:
    cloud.control(transform_at_ingest=True)
    answer = cloud.upload(picture(), public_id="a", context="sha256=x").json()
    assert answer["etag"] != md5(picture())
    assert answer["etag"] == md5(HTTP.request("GET", answer["secure_url"]).data)
    assert cloud.ledger("a")[0]["md5"] == md5(picture())


def test_assets_and_ledger_outlive_the_process(tmp_path: Path) -> None:
    with running(tmp_path / "root") as cloud:
        first = cloud.upload(picture(), public_id="a").json()
    with running(tmp_path / "root") as cloud:
        again = cloud.upload(picture(), public_id="a", overwrite="false").json()
        assert (again["existing"], again["asset_id"]) == (True, first["asset_id"])
        assert [entry["number"] for entry in cloud.ledger()] == [1, 2]
        assert HTTP.request("GET", again["secure_url"]).data == picture()
