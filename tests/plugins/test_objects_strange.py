"""What an object store meets that nobody expects: keys of other programs, and files of the largest size.

On plain values and on files alone, without a server.
"""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from comfyledger.plugin_api import Deposit, Series, Stored, StoreTrouble
from comfyledger.testing.place import deposit
from comfyledger_objects import bucket, uploads
from comfyledger_objects.blocks import Taken
from comfyledger_objects.buffers import KEPT_BYTES_MAX, UNIT_BYTES, Buffers
from comfyledger_objects.calls import Calls
from comfyledger_objects.faults import is_clear_refusal, lane_fault_of
from comfyledger_objects.keys import key_of, name_of, number_in
from comfyledger_objects.lending import Lending
from comfyledger_objects.metadata import Found
from comfyledger_objects.options import Kind, options_from
from comfyledger_objects.probe import _keeps
from comfyledger_objects.uploads import Uploads, whole
from support.waiting import until

OURS, OTHERS = b"ours!", b"their"


@pytest.mark.parametrize("prefix", ["", "p"])
@pytest.mark.parametrize(
    "leaf", ["b_1.", ".", "..png", "b_1..", ".png", "a b%20#?.png", "b_1.tar.gz", "~x", "\u212bb.PNG"]
)
def test_any_key_has_a_name_that_leads_back_to_it(prefix: str, leaf: str) -> None:
    key = key_of(prefix, f"a/{leaf}", "")
    name = name_of(prefix, key)
    assert name is not None
    assert key_of(prefix, *name) == key


def test_a_key_that_ends_in_a_dot_keeps_its_number() -> None:
    assert number_in(Series("a", "b_"))("a/b_12.") == 12


@pytest.mark.parametrize("kind", bucket.PARTS_MAX)
@pytest.mark.parametrize("size", [1, 10**8, 10**11, 5 * 10**12])
def test_a_file_of_any_size_has_as_many_parts_as_a_server_takes(kind: Kind, size: int) -> None:
    one = bucket.part_bytes(kind, size)
    assert one >= bucket.PART_BYTES[kind]
    assert one * bucket.PARTS_MAX[kind] >= size


def test_a_file_that_is_sent_in_one_request_is_in_memory_once(tmp_path: Path) -> None:
    content = bytes(24 * 1_048_576)
    path = tmp_path / "large"
    path.write_bytes(content)
    deposit = Deposit("B1/1", "a/b_1", "png", path, hashlib.sha256(content).hexdigest(), "", len(content), True)
    tracemalloc.start()
    try:
        assert whole(deposit, Buffers(Lending())) == content
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1.25 * len(content)


def test_memory_is_given_again_only_when_nobody_has_it() -> None:
    buffers = Buffers(Lending())
    first, other = buffers.of(5), buffers.of(5)
    first[:], other[:] = OURS, OTHERS
    part, last = other[1:3], buffers.of(5)  # as a request that goes on after its call was cancelled
    del other, first
    again, new = buffers.of(5), buffers.of(5)
    assert bytes(again) == OURS
    new[:] = last[:] = OURS
    assert bytes(part) == OTHERS[1:3]


def test_a_small_file_does_not_hold_the_memory_of_a_large_one() -> None:
    buffers = Buffers(Lending())
    busy, large = buffers.of(1), buffers.of(64 * UNIT_BYTES)
    del large
    tracemalloc.start()
    try:
        small = buffers.of(UNIT_BYTES + 1)
        assert tracemalloc.get_traced_memory()[0] < 3 * UNIT_BYTES
    finally:
        tracemalloc.stop()
    assert len(small) + len(busy) == UNIT_BYTES + 2


def test_memory_that_is_too_small_is_not_given() -> None:
    buffers = Buffers(Lending())
    small, other = buffers.of(0), buffers.of(1)
    del small
    assert len(buffers.of(3 * UNIT_BYTES)) == 3 * UNIT_BYTES
    assert len(other) == 1


@pytest.mark.parametrize(("is_busy", "kept"), [(True, KEPT_BYTES_MAX), (False, 0)])
def test_memory_is_kept_up_to_a_limit_while_something_is_under_way(is_busy: bool, kept: int) -> None:
    tracemalloc.start()
    try:
        buffers = Buffers(Lending())
        held = [buffers.of(1)] if is_busy else []
        views = [buffers.of(KEPT_BYTES_MAX // 2) for _ in range(3)]
        views.append(buffers.of(KEPT_BYTES_MAX + 1))
        del views
        assert kept <= tracemalloc.get_traced_memory()[0] < kept + 2 * UNIT_BYTES
        assert len(held) == is_busy
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("key", "said", "can"),
    [
        ("a/b_1.png", "", True),
        ("a/b 1.png", "", False),
        ("a/b_1.png", "Generating SAS keys with SAS tokens auth is not supported", False),
        ("a/b_1.png", "status code: 403, body: <Code>AuthorizationPermissionMismatch</Code>", False),
        ("a/b_1.png", "status code: 503, body: <Code>ServerBusy</Code>", None),
    ],
)
async def test_who_cannot_sign_for_azure_is_found_out_and_trouble_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, key: str, said: str, can: bool | None
) -> None:
    async def signed(*_: object) -> str:
        if said:
            raise RuntimeError(said)
        return "https://example.org/?sig=1"

    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY", raising=False)
    made = bucket.Bucket(options_from("x", "azure", {"bucket": "images", "account_name": "mine"}, {}))
    monkeypatch.setattr(made, "_signed", signed)
    if can is None:
        with pytest.raises(RuntimeError):
            await made._can_sign(key)
    else:
        assert await made._can_sign(key) is can


class Held:
    """A bucket in which files of more than a byte arrive only when they are let go. `begun`: how many are sent."""

    def __init__(self) -> None:
        self.begun, self.go = 0, asyncio.Event()
        self.buffers = Buffers(Lending())

    async def create(self, key: str, content: memoryview, attributes: Any) -> None:
        if len(content) > 1:
            self.begun += 1
            await self.go.wait()


async def test_large_files_that_wait_for_each_other_take_no_place_from_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "WHOLE_BYTES_MAX", 1)
    held = Held()
    made = Uploads(
        options_from("x", "s3", {"bucket": "images", "uploads_concurrent_max": 2}, {}), cast(Any, held), cast(Any, None)
    )
    made.way = "whole"
    large = [deposit(tmp_path, b"large", f"a/b_{number}") for number in range(3)]
    waiting = [asyncio.create_task(made.put(one, one.public_id, "")) for one in large]
    await until(lambda: held.begun == 1)
    small = deposit(tmp_path, b"s", "a/b_9")
    assert isinstance(await made.put(small, small.public_id, ""), Stored)
    assert held.begun == 1
    held.go.set()
    assert [type(one) for one in await asyncio.gather(*waiting)] == [Stored] * 3


class Content:
    """Answers with these bytes when an object is read. `reads`: how often."""

    def __init__(self, content: bytes) -> None:
        self._content, self.reads = content, 0

    async def read(self, found: Found) -> AsyncIterator[bytes]:
        self.reads += 1
        yield self._content


async def is_ours(content: Content, etag: str, sha256: str, md5: str) -> bool:
    options = options_from("x", "s3", {"bucket": "images"}, {})
    uploads = Uploads(options, cast(Any, None), cast(Any, content))
    found = Found("a/b_1.png", len(OURS), etag, "", 0, {"sha256": sha256})
    return await uploads.is_ours(found, len(OURS), sha256, md5)


async def test_metadata_that_the_etag_may_contradict_are_not_believed() -> None:
    """The etag of an object with other encryption only looks like an MD5, so it does not decide either."""
    sha256, md5 = hashlib.sha256(OURS).hexdigest(), hashlib.md5(OURS).hexdigest()
    assert not await is_ours(Content(OTHERS), f'"{hashlib.md5(OTHERS).hexdigest()}"', sha256, md5)
    assert await is_ours(Content(OURS), f'"{"0" * 32}"', sha256, md5)


async def test_metadata_that_nothing_contradicts_are_believed_without_reading() -> None:
    sha256, md5 = hashlib.sha256(OURS).hexdigest(), hashlib.md5(OURS).hexdigest()
    for etag in (f'"{md5}"', f'"{md5}-2"', "0x8DC", ""):
        content = Content(OTHERS)
        assert await is_ours(content, etag, sha256, md5)
        assert content.reads == 0


@pytest.mark.parametrize(("answers", "verdict"), [([None, "taken"], True), ([None, None], False), (["taken"], None)])
async def test_only_the_second_writing_of_a_name_can_show_that_the_server_keeps_the_first(
    answers: list[str | None], verdict: bool | None
) -> None:
    """A conflict at the first one is another one, which passes."""

    async def write() -> None:
        if answers.pop(0) is not None:
            raise Taken

    calls = Calls(options_from("x", "s3", {"bucket": "images"}, {}), cast(Any, None))
    if verdict is None:
        with pytest.raises(StoreTrouble):
            await _keeps(write, is_clear_refusal, calls)
    else:
        assert await _keeps(write, is_clear_refusal, calls) is verdict


@pytest.mark.parametrize("word", ["credential-thief", "oauth2-girl", "sts.girl"])
def test_a_name_of_a_character_says_nothing_about_credentials(word: str) -> None:
    text = f"Generic S3 error: Error performing PUT http://s3.example/pics/Areg/characters/{word}/images/a.png in 1s"
    assert lane_fault_of(OSError(f"{text} - HTTP error: error sending request")).code != "configuration"
    said = f"{text} - Generic error: Missing Credential"
    assert lane_fault_of(OSError(said)).code == "configuration"
