"""The Admin API of the stand-in for Cloudinary: listings and their cursors, search, folders, the hourly budget."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from comfyledger.sim.cloudinary.answers import Refused
from comfyledger.sim.cloudinary.assets import Assets, Seed, open_database
from comfyledger.sim.cloudinary.search import clauses_of
from support.cloudinary_calls import NOW_S, Cloud, picture, running


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path / "root") as cloud:
        yield cloud


def names(answer: Any) -> list[str]:
    return [asset["public_id"] for asset in answer.json()["resources"]]


def find(cloud: Cloud, expression: str) -> list[str]:
    cloud.control(admin_used=0)
    return names(cloud.post_json("resources/search", {"expression": expression}))


def test_a_cursor_leads_through_all_of_a_prefix_also_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "root") as cloud:
        cloud.control(seed=[{"prefix": "a/b_", "count": 7}, {"public_id": "a/c"}])
        page = cloud.admin("resources/image/upload", prefix="a/b_", max_results=4)
        seen, cursor = names(page), page.json()["next_cursor"]
        assert len(seen) == 4
    with running(tmp_path / "root") as cloud:
        page = cloud.admin("resources/image/upload", prefix="a/b_", max_results=4, next_cursor=cursor)
        assert sorted(seen + names(page)) == [f"a/b_{number}" for number in range(1, 8)]
        assert "next_cursor" not in page.json()
        broken = cloud.admin("resources/image", next_cursor="zz")
        assert broken.status == 400


def test_a_page_has_ten_assets_unless_asked_and_500_at_most(cloud: Cloud) -> None:
    cloud.control(seed={"prefix": "a_", "count": 501})
    assert len(names(cloud.admin("resources/image"))) == 10
    assert len(names(cloud.admin("resources/image", max_results=501))) == 500


def test_context_and_tags_are_listed_on_request_only(cloud: Cloud) -> None:
    cloud.control(seed={"public_id": "a", "context": {"image": "i"}, "tags": ["t"], "etag": "e"})
    (plain,) = cloud.admin("resources/image").json()["resources"]
    (full,) = cloud.admin("resources/image", context="1", tags="true").json()["resources"]
    assert ("context" in plain, "tags" in plain, plain["etag"]) == (False, False, "e")
    assert (full["context"], full["tags"]) == ({"custom": {"image": "i"}}, ["t"])


def test_a_detail_knows_everything_of_one(cloud: Cloud) -> None:
    asset_id = cloud.upload(picture(), public_id="a/b", tags="t").json()["asset_id"]
    for path in ("resources/image/upload/a/b", f"resources/{asset_id}"):
        assert cloud.admin(path).json()["tags"] == ["t"]
    assert cloud.admin("resources/image/upload/none").status == 404


def test_the_budget_is_told_with_every_answer_and_ends_in_420(tmp_path: Path) -> None:
    with running(tmp_path / "root", admin_budget=2) as cloud:
        first = cloud.admin("ping")
        assert first.headers["X-FeatureRateLimit-Limit"] == "2"
        assert first.headers["X-FeatureRateLimit-Remaining"] == "1"
        assert first.headers["X-FeatureRateLimit-Reset"] == "Fri, 15 Jan 2027 09:00:00 GMT"
        cloud.admin("ping")
    with running(tmp_path / "root", admin_budget=2) as cloud:
        refused = cloud.admin("ping")
        text = "Rate Limit Exceeded. Limit of 2 api operations reached. Try again on 2027-01-15 09:00:00 UTC"
        assert (refused.status, refused.json()["error"]["message"]) == (420, text)
        assert cloud.upload(picture(), public_id="a").status == 200
        cloud.control(clock_offset_s=3600)
        assert cloud.admin("ping").headers["X-FeatureRateLimit-Remaining"] == "1"


def test_the_budget_is_spent_and_given_back_by_a_test(cloud: Cloud) -> None:
    assert cloud.control(admin_used=500)["admin_used"] == 500
    assert cloud.admin("ping").status == 420
    cloud.control(admin_used=0, admin_budget=1)
    assert [cloud.admin("ping").status for _ in range(2)] == [200, 420]


def test_the_ledger_marks_admin_calls_and_no_others(cloud: Cloud) -> None:
    cloud.upload(picture(), public_id="a")
    cloud.admin("resources/image", prefix="a")
    upload, listing = cloud.ledger()
    assert (upload["is_admin"], listing["is_admin"]) == (False, True)
    assert listing["parameters"] == {"prefix": "a"}


def test_the_folder_mode_is_told_when_settings_are_asked_for(cloud: Cloud) -> None:
    assert "settings" not in cloud.admin("config").json()
    assert cloud.admin("config", settings="true").json()["settings"] == {"folder_mode": "dynamic"}
    cloud.control(folder_mode="fixed")
    assert cloud.admin("config", settings="true").json()["settings"] == {"folder_mode": "fixed"}


def test_the_usage_tells_the_limit_of_a_file(tmp_path: Path) -> None:
    with running(tmp_path / "root", file_bytes_max=77) as cloud:
        cloud.control(seed={"prefix": "a", "count": 3, "bytes": 100})
        usage = cloud.admin("usage").json()
        assert usage["media_limits"]["image_max_size_bytes"] == 77
        assert (usage["storage"]["usage"], usage["resources"]) == (300, 3)


def test_a_search_finds_by_folder_and_by_beginning(cloud: Cloud) -> None:
    cloud.control(seed=[{"public_id": name} for name in ("a/x", "a/b/y", "ab/z", "top")])
    cloud.upload(picture(), public_id="a/u", tags="t")
    assert find(cloud, 'asset_folder:"a/*"') == ["a/b/y", "a/x"]
    assert find(cloud, "asset_folder=a") == ["a/x"]
    assert find(cloud, 'folder:"a/*"') == ["a/b/y", "a/u", "a/x"]
    assert find(cloud, "folder=a") == ["a/u", "a/x"]
    assert find(cloud, "public_id:a* AND format=png") == ["a/b/y", "a/u", "a/x", "ab/z"]
    assert find(cloud, "tags=t AND status:active") == ["a/u"]
    assert find(cloud, "status:pending") == []
    assert len(find(cloud, "")) == 5


@pytest.mark.parametrize("expression", ["nonsense", "a:1 b:2", "(a:1)", "a:1 AND", "a:1 OR b:2", 'a:"1'])
def test_a_search_beyond_what_is_known_is_refused(expression: str) -> None:
    with pytest.raises(Refused, match="Invalid expression"):
        clauses_of(expression)


def test_folders_are_those_of_the_assets_and_those_that_were_made(cloud: Cloud) -> None:
    cloud.control(seed=[{"public_id": "a/b/x"}])
    cloud.post_json("folders/made/empty", {})
    assert [folder["path"] for folder in cloud.admin("folders").json()["folders"]] == ["a", "made"]
    assert [folder["path"] for folder in cloud.admin("folders/a").json()["folders"]] == ["a/b"]
    assert cloud.admin("folders/none").status == 404
    answer = cloud.post_json("folders/search", {"expression": 'path="a/b"'}).json()
    assert answer["total_count"] == 1


def test_a_great_collection_is_seeded_and_listed_in_little_memory(tmp_path: Path) -> None:
    """Measured anew if it is too much: while it runs, another thread may receive the list of tests to run next."""
    peaks = (peak_bytes_of_a_great_collection(tmp_path / str(place)) for place in range(3))
    assert any(peak < 3_000_000 for peak in peaks)


def peak_bytes_of_a_great_collection(folder: Path) -> int:
    folder.mkdir()
    database = open_database(folder)
    assets = Assets(database, folder / "files")
    gc.disable()  # a collection of what other tests left allocates memory of its own
    tracemalloc.start()
    try:
        seeds = (Seed(prefix=f"c{number}/i_", count=60) for number in range(250))
        assert assets.seed(seeds, NOW_S, Random(1)) == 15_000
        assert len(assets.page([], None, 500)[0]) == 500
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
        database.close()
