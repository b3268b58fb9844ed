"""The stand-in for Cloudinary with videos, sounds and raw files: public ids, limits and lists are those of a type."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudinary
import pytest
from cloudinary import api, uploader
from cloudinary.exceptions import BadRequest

from support.cloudinary_calls import HTTP, Cloud, md5, official, picture, running, signed
from support.media_builders import flac, glb, matroska, movie, mp3, ogg, wav

CHUNK = 5 * 1024 * 1024


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path / "root", now_s=None) as cloud, official(cloud):
        yield cloud


def upload(content: bytes, public_id: str, resource_type: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = uploader.upload(
        io.BytesIO(content), public_id=public_id, resource_type=resource_type, **options
    )
    return found


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (movie(), "mp4"),
        (movie(b"qt  "), "mov"),
        (matroska(), "webm"),
        (matroska(b"matroska"), "mkv"),
        (flac(), "flac"),
        (wav(), "wav"),
        (mp3(), "mp3"),
        (ogg(), "ogg"),
        (picture(kind="GIF"), "gif"),
    ],
    ids=["mp4", "mov", "webm", "mkv", "flac", "wav", "mp3", "ogg", "gif"],
)
def test_videos_and_sounds_are_uploaded_as_videos(cloud: Cloud, content: bytes, told: str) -> None:
    answer = upload(content, "a", "video")
    assert (answer["resource_type"], answer["format"], answer["etag"]) == ("video", told, md5(content))
    assert answer["is_audio"] is (told in {"flac", "wav", "mp3", "ogg"})


@pytest.mark.parametrize("content", [movie(), matroska(), flac(), b"text"], ids=["mp4", "webm", "flac", "text"])
def test_what_is_no_image_is_refused_as_one(cloud: Cloud, content: bytes) -> None:
    """The text of the error is that of pycloudinary's issue 219."""
    with pytest.raises(BadRequest, match="Invalid image file"):
        upload(content, "a", "image")


@pytest.mark.parametrize("content", [picture(), movie()[:-200], glb(), b"text"], ids=["png", "cut", "glb", "text"])
def test_what_is_no_video_is_refused_as_one(cloud: Cloud, content: bytes) -> None:
    """The text of the error is that of django-cloudinary-storage's issue 31."""
    with pytest.raises(BadRequest, match="Unsupported video format or file"):
        upload(content, "a", "video")
    assert cloud.assets() == {}


def test_one_public_id_is_another_asset_in_each_type(cloud: Cloud) -> None:
    contents = {"image": picture(), "video": movie(), "raw": b"text"}
    for kind, content in contents.items():
        assert "existing" not in upload(content, "a/b", kind, overwrite=False)
    for kind, content in contents.items():
        assert api.resource("a/b", resource_type=kind)["etag"] == md5(content)
        assert [one["etag"] for one in api.resources(type="upload", resource_type=kind)["resources"]] == [md5(content)]
    assert uploader.destroy("a/b", resource_type="video")["result"] == "ok"
    assert uploader.destroy("a/b", resource_type="video")["result"] == "not found"
    assert upload(picture(1), "a/b", "image", overwrite=False)["existing"] is True
    assert upload(b"other", "a/b", "raw", overwrite=False)["existing"] is True
    kinds = [entry["resource_type"] for entry in cloud.ledger("a/b") if not entry["is_admin"]]
    assert kinds == ["image", "video", "raw", "video", "video", "image", "raw"]


def test_a_raw_file_keeps_its_extension_in_its_name(cloud: Cloud) -> None:
    answer = upload(glb(), "a/model_1.glb", "raw")
    assert (answer["public_id"], "format" in answer) == ("a/model_1.glb", False)
    named = uploader.upload(("b.glb", glb()), resource_type="raw", use_filename=True, unique_filename=False)
    assert named["public_id"] == "b.glb"


def test_each_type_is_delivered_under_its_own_address(cloud: Cloud) -> None:
    for kind, name, content, ending, mime_type in (
        ("video", "a", movie(), ".mp4", "video/mp4"),
        ("video", "b", flac(), ".flac", "audio/"),
        ("raw", "a.glb", glb(), ".glb", "application/octet-stream"),
    ):
        answer = upload(content, name, kind)
        assert f"/demo/{kind}/upload/v{answer['version']}/" in answer["secure_url"]
        assert answer["secure_url"].endswith(ending)
        got = HTTP.request("GET", answer["secure_url"])
        assert (got.status, got.data) == (200, content)
        assert got.headers["Content-Type"].startswith(mime_type)
        assert HTTP.request("GET", answer["secure_url"].replace(f"/{kind}/", "/image/")).status == 404


def test_the_type_of_a_file_is_found_where_nobody_says_it(cloud: Cloud) -> None:
    kinds = [upload(one, f"a{place}", "auto")["resource_type"] for place, one in enumerate((picture(), movie(), b"t"))]
    assert kinds == ["image", "video", "raw"]
    assert [entry["resource_type"] for entry in cloud.ledger()] == kinds


def test_the_plan_limits_each_type_on_its_own(tmp_path: Path) -> None:
    with running(tmp_path / "root", now_s=None, file_bytes_max=200) as cloud, official(cloud):
        limits = api.usage()["media_limits"]
        assert [limits[f"{kind}_max_size_bytes"] for kind in ("image", "video", "raw")] == [200, 2_000, 200]
        assert 200 < len(flac()) < 2_000
        assert upload(flac(), "a", "video")["bytes"] == len(flac())
        with pytest.raises(BadRequest, match=r"File size too large. Got 201. Maximum is 200."):
            upload(bytes(201), "a", "raw")


def test_a_large_video_goes_up_in_chunks_with_the_official_package(cloud: Cloud) -> None:
    content = movie(index_first=True) + bytes(2 * CHUNK)
    answer = uploader.upload_large(
        io.BytesIO(content), resource_type="video", public_id="v", chunk_size=CHUNK, overwrite=False
    )
    assert (answer["public_id"], answer["etag"], answer["resource_type"]) == ("v", md5(content), "video")
    assert [entry["answer"] for entry in cloud.ledger("v")] == ["chunk", "chunk", "new"]
    again = uploader.upload_large(
        io.BytesIO(content), resource_type="video", public_id="v", chunk_size=CHUNK, overwrite=False
    )
    assert again["existing"] is True


def chunk(cloud: Cloud, first: int, size: int, total: int, upload_id: str = "u1") -> tuple[int, Any]:
    headers = {"X-Unique-Upload-Id": upload_id, "Content-Range": f"bytes {first}-{first + size - 1}/{total}"}
    fields = {"public_id": "big.bin", "timestamp": str(api.utils.now())}
    answer = cloud.post("upload", [*signed(fields).items(), ("file", ("b", bytes(size)))], "/raw", headers=headers)
    return answer.status, answer.json()


def test_the_first_chunk_comes_first_and_the_last_one_last(tmp_path: Path) -> None:
    """Cloudinary's guidelines for chunked uploads (support article 208263735)."""
    with running(tmp_path / "root", now_s=None, file_bytes_max=4 * CHUNK) as cloud:
        send_out_of_order(cloud, 2 * CHUNK + 5)


def send_out_of_order(cloud: Cloud, total: int) -> None:
    assert chunk(cloud, CHUNK, CHUNK, total) == (400, {"error": {"message": "Invalid Content-Range"}})
    assert chunk(cloud, 0, CHUNK, total)[1]["done"] is False
    assert chunk(cloud, 2 * CHUNK, 5, total)[0] == 400
    assert chunk(cloud, CHUNK, CHUNK, total + 1)[0] == 400
    assert chunk(cloud, CHUNK, CHUNK, total)[1]["done"] is False
    assert chunk(cloud, 2 * CHUNK, 5, total)[1]["etag"] == md5(bytes(total))
    assert chunk(cloud, 2 * CHUNK, 5, total)[0] == 400, "the upload is over, nothing is left of it"


def test_seeded_files_may_be_of_any_type(cloud: Cloud) -> None:
    cloud.control(
        seed=[{"public_id": "a/v_2", "resource_type": "video"}, {"public_id": "a/r_3.glb", "resource_type": "raw"}]
    )
    found = {kind: api.resources(type="upload", resource_type=kind)["resources"] for kind in ("image", "video", "raw")}
    assert [one["public_id"] for one in (*found["image"], *found["video"], *found["raw"])] == ["a/v_2", "a/r_3.glb"]
    assert found["video"][0]["format"] == "mp4"
    assert len(cloudinary.Search().expression("resource_type:raw").execute()["resources"]) == 1
