"""What the doctor says of the cache of thumbnails."""

from __future__ import annotations

from pathlib import Path

from comfyledger.maintenance.doctor.thumbnails import ThumbnailsSeen, of_thumbnails, thumbnails


def test_a_cache_that_is_not_there_or_empty_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty" / "batch").mkdir(parents=True)
    for folder in (tmp_path / "none", tmp_path / "empty"):
        assert of_thumbnails(thumbnails(folder), 1 << 30) == []


def test_thumbnails_are_counted_with_what_they_take(tmp_path: Path) -> None:
    for index in (1, 2):
        path = tmp_path / f"batch-{index}" / "1-small.webp"
        path.parent.mkdir()
        path.write_bytes(bytes(1 << 20))
    seen = thumbnails(tmp_path)
    assert seen == ThumbnailsSeen(2, 2 << 20)
    (said,) = of_thumbnails(seen, 1 << 30)
    assert (said.area, said.verdict) == ("thumbnails", "ok")
    assert said.sentence == "2 thumbnails take 0.00 GiB of the 1.00 GiB that they may take."
