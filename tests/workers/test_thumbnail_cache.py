"""The cache of thumbnails: what is damaged or of something else is not there, and what was used longest ago goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfyledger.workers.thumbnails import cache as module
from comfyledger.workers.thumbnails.cache import BLOCK_BYTES, Cache

BATCH, OTHER = "01M82DA9EJBQZAAZJR4D2RM95D", "01M82DA9EJBQZAAZJR4D2RM95E"
SHA256, WEBP = "a" * 64, b"RIFF a thumbnail"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "thumbnails", 100 * BLOCK_BYTES)


def put(cache: Cache, index: int, batch_id: str = BATCH, webp: bytes = WEBP) -> Path:
    cache.keep(batch_id, index, "small", SHA256, webp)
    return cache.folder / batch_id / f"{index}-small.webp"


def files(cache: Cache) -> set[str]:
    return {str(path.relative_to(cache.folder)) for path in cache.folder.rglob("*")}


def test_what_is_kept_is_read_under_its_image_size_and_bytes_alone(cache: Cache) -> None:
    assert cache.read(BATCH, 1, "small", SHA256) is None
    put(cache, 1)
    assert cache.read(BATCH, 1, "small", SHA256) == WEBP
    assert Cache(cache.folder, 1).read(BATCH, 1, "small", SHA256) == WEBP, "after a restart too"
    assert cache.read(BATCH, 1, "large", SHA256) is None
    assert cache.read(BATCH, 2, "small", SHA256) is None
    assert cache.read(BATCH, 1, "small", "b" * 64) is None, "of other bytes, so the image was rendered again"


@pytest.mark.parametrize(
    "damage", ["cut", "flipped", "longer", "empty", "a folder", "unreadable", "as another release"]
)
def test_a_damaged_file_is_not_there_and_is_made_again(
    cache: Cache, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(cache, 1)
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[:-1])
        case "flipped":
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "longer":
            path.write_bytes(content + b"\0")
        case "empty":
            path.write_bytes(b"")
        case "a folder":
            path.unlink()
            path.mkdir()
        case "unreadable":
            path.unlink()
            path.symlink_to("/proc/self/mem")
        case _:
            monkeypatch.setattr(module, "DRAWN_AS", b"comfyledger thumbnail 2\n")
    assert cache.read(BATCH, 1, "small", SHA256) is None
    if damage != "a folder":
        put(cache, 1)
        assert cache.read(BATCH, 1, "small", SHA256) == WEBP


def test_nobody_else_may_read_it(cache: Cache) -> None:
    path = put(cache, 1)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_above_the_quota_those_that_were_used_longest_ago_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10 * BLOCK_BYTES)
    for index in range(1, 11):
        os.utime(put(cache, index), (index, index))
    assert cache.read(BATCH, 1, "small", SHA256) == WEBP, "now it was used last"
    put(cache, 11, OTHER)
    kept = {f"{BATCH}/{index}-small.webp" for index in (1, 4, 5, 6, 7, 8, 9, 10)}
    assert files(cache) - {BATCH, OTHER} == kept | {f"{OTHER}/11-small.webp"}
    assert cache.used_bytes == 9 * BLOCK_BYTES
    counted = Cache(tmp_path, 10 * BLOCK_BYTES)
    counted.count()
    assert counted.used_bytes == 9 * BLOCK_BYTES, "a restart changes nothing"


def test_a_quota_bounds_the_number_of_files_too(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 4 * BLOCK_BYTES)
    for index in range(1, 50):
        put(cache, index, webp=b"x")
    assert len(files(cache) - {BATCH}) <= 4


def test_what_alone_is_above_the_quota_does_not_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1)
    put(cache, 1)
    assert (files(cache), cache.used_bytes) == (set(), 0)


def test_the_thumbnails_of_images_or_of_a_batch_are_removed(cache: Cache) -> None:
    for index in (1, 2, 11):
        put(cache, index)
        cache.keep(BATCH, index, "large", SHA256, WEBP)
    put(cache, 1, OTHER)
    cache.remove(BATCH, (1, 3))
    assert {name for name in files(cache) if "/1-" in name} == {f"{OTHER}/1-small.webp"}
    assert f"{BATCH}/11-large.webp" in files(cache)
    cache.remove(BATCH)
    cache.remove(BATCH)
    assert files(cache) == {OTHER, f"{OTHER}/1-small.webp"}
    assert cache.used_bytes == BLOCK_BYTES


def test_only_what_belongs_to_the_given_images_stays_in_a_folder(cache: Cache) -> None:
    for index in (1, 2):
        put(cache, index)
    for name in (".1-small.webp.77", "notes.txt"):
        (cache.folder / BATCH / name).write_bytes(b"left by a crash")
    (cache.folder / "somebody's").mkdir()
    assert cache.batches() == [BATCH]
    cache.clear(BATCH, frozenset({2}))
    assert files(cache) == {BATCH, f"{BATCH}/2-small.webp", "somebody's"}
    cache.clear(BATCH, frozenset())
    assert cache.batches() == []


def test_a_file_that_cannot_be_written_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    put(cache, 1)
    monkeypatch.setattr("comfyledger.durable.sync_file", refuse)
    with pytest.raises(OSError, match="No space"):
        put(cache, 1, webp=b"other")
    assert cache.read(BATCH, 1, "small", SHA256) == WEBP
    assert files(cache) == {BATCH, f"{BATCH}/1-small.webp"}
