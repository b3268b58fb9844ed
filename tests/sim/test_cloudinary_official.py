"""Cloudinary's own tools, unmodified, against the stand-in: the Python package and `cld`, through `upload_prefix`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudinary
import pytest
from cloudinary import api, uploader
from cloudinary.exceptions import AuthorizationRequired, BadRequest, NotFound, RateLimited
from cloudinary.utils import verify_api_response_signature

from support.cloudinary_calls import SECRET, Cloud, md5, official, picture, running
from support.waiting import DEADLINE_S

CLD = Path(sys.executable).with_name("cld")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path / "root", now_s=None) as cloud, official(cloud):
        yield cloud


def upload(content: bytes, public_id: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = uploader.upload(io.BytesIO(content), public_id=public_id, **options)
    return found


def test_an_upload_is_answered_with_what_was_sent(cloud: Cloud) -> None:
    context = {"sha256": "s", "odd": "a|b=c & d"}
    answer = upload(picture(), "a b/c", overwrite=False, context=context, tags=["x", "y&z"], asset_folder="a b")
    assert (answer["public_id"], answer["etag"]) == ("a b/c", md5(picture()))
    assert (answer["context"]["custom"], answer["tags"]) == (context, ["x", "y&z"])
    assert answer["request_id"]
    assert verify_api_response_signature(answer["public_id"], answer["version"], answer["signature"])
    assert upload(picture(), "a b/c", overwrite=False)["existing"] is True


@pytest.mark.parametrize(("algorithm", "version"), [("sha1", 1), ("sha1", 2), ("sha256", 1), ("sha256", 2)])
def test_every_way_of_signing_is_understood(cloud: Cloud, algorithm: str, version: int) -> None:
    cloudinary.config(signature_algorithm=algorithm, signature_version=version)
    assert upload(picture(), "a", tags="x&y")["public_id"] == "a"


def test_a_large_upload_in_chunks_is_stored_once(cloud: Cloud) -> None:
    content = bytes(6 * 1024 * 1024)
    answer = uploader.upload_large(io.BytesIO(content), public_id="b.bin", chunk_size=5 * 1024 * 1024)
    assert (answer["etag"], answer["resource_type"]) == (md5(content), "raw")
    assert [entry["is_stored"] for entry in cloud.ledger()] == [False, True]


def test_destroy_and_explicit_say_what_they_did(cloud: Cloud) -> None:
    upload(picture(), "a")
    assert uploader.explicit("a", type="upload", tags="t")["tags"] == ["t"]
    assert uploader.destroy("a")["result"] == "ok"
    with pytest.raises(NotFound, match="Resource not found - a"):
        uploader.explicit("a", type="upload")


def test_listings_lead_through_their_cursors(cloud: Cloud) -> None:
    cloud.control(seed={"prefix": "s/i_", "count": 57, "context": {"image": "i"}})
    seen, cursor = [], None
    while True:
        page = api.resources(type="upload", prefix="s/i_", context=True, max_results=25, next_cursor=cursor)
        seen += page["resources"]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert len({asset["public_id"] for asset in seen}) == 57
    assert seen[0]["context"] == {"custom": {"image": "i"}}
    assert page.rate_limit_remaining == 497
    assert {asset["public_id"] for asset in api.resources_by_ids(["s/i_1", "s/i_9"])["resources"]} == {"s/i_1", "s/i_9"}
    assert len(api.resources_by_asset_folder("s", max_results=500)["resources"]) == 57
    assert len(api.resources_by_asset_ids([seen[0]["asset_id"]])["resources"]) == 1
    assert api.resource("s/i_1")["public_id"] == "s/i_1"


def test_the_other_admin_calls_answer(cloud: Cloud) -> None:
    upload(picture(), "a/b", asset_folder="a")
    assert api.ping()["status"] == "ok"
    assert api.config(settings="true")["settings"]["folder_mode"] == "dynamic"
    assert api.usage()["media_limits"]["image_max_size_bytes"] == 10_485_760
    assert [folder["path"] for folder in api.root_folders()["folders"]] == ["a"]
    (found,) = cloudinary.Search().expression("asset_folder:a/*").max_results(5).execute()["resources"]
    assert found["etag"] == md5(picture())
    assert api.delete_resources(["a/b", "none"])["deleted"] == {"a/b": "deleted", "none": "not_found"}


def test_refusals_arrive_as_the_errors_that_the_package_knows(cloud: Cloud) -> None:
    with pytest.raises(BadRequest, match="Invalid image file"):
        upload(b"nothing", "a")
    cloud.control(admin_used=500)
    with pytest.raises(RateLimited, match="Limit of 500 api operations reached"):
        api.ping()
    cloudinary.config(api_secret="wrong")
    with pytest.raises(AuthorizationRequired, match=r"Invalid Signature [0-9a-f]{40}\. String to sign - 'public_id=a&"):
        upload(picture(), "a")


def cld(cloud: Cloud, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    env["CLOUDINARY_URL"] = f"{cloud.cloudinary_url}?upload_prefix={cloud.url}"
    return subprocess.run(
        [CLD, *words], check=True, env=env, cwd=home, capture_output=True, text=True, timeout=DEADLINE_S
    )


@pytest.mark.parametrize("mode", ["dynamic", "fixed"])
def test_a_second_sync_transfers_nothing(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.png").write_bytes(picture(1))
    (folder / "deep/two.png").write_bytes(picture(2))
    (folder / "notes.txt").write_text("three")
    with running(tmp_path / "root", now_s=None, folder_mode=mode) as cloud:
        cld(cloud, tmp_path, "sync", "--push", "pictures", "target")
        stored = {asset["etag"] for asset in cloud.assets().values()}
        assert stored == {md5(content) for content in (picture(1), picture(2), b"three")}
        before = len(cloud.ledger())
        assert "Skipping 3 items" in cld(cloud, tmp_path, "sync", "--push", "pictures", "target").stderr
        second = cloud.ledger()[before:]
        assert [entry["path"].rpartition("/")[2] for entry in second] == ["config", "search", "search"]


def test_cld_uploads_a_file(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(picture())
    done = cld(cloud, tmp_path, "uploader", "upload", "one.png", "public_id=x/y", "overwrite=false")
    answer = json.loads(done.stdout)
    assert (answer["public_id"], answer["etag"]) == ("x/y", md5(picture()))
    assert SECRET not in json.dumps(cloud.ledger())


def test_the_command_line_says_in_one_line_where_it_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "comfyledger", "sim", "cloudinary", "--port", "0", "--root", str(tmp_path / "r")]
    command += ["--cloud", "c"]
    with subprocess.Popen([*command, "--key", "k", "--secret", "s"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    assert set(told) == {"url", "control", "cloudinary_url"}
    assert told["cloudinary_url"] == "cloudinary://k:s@c"
