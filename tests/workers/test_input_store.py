"""Laws of the folder of inputs: the same bytes are one file, and no file is without its event for long."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import shutil
import stat
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from comfyledger.errors import Refused, SpoolUnusable
from comfyledger.workers.inputs import room as room_module
from comfyledger.workers.inputs import store as store_module
from comfyledger.workers.inputs.room import NoRoom
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.spool import files as files_module
from comfyledger.workers.spool.files import NoPlace
from support.input_files import Book, Client, Remover, add, digest, opened
from support.media_builders import wav
from support.spool_files import image, stream
from support.waiting import DEADLINE_S, until

PNG = image()


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def client(book: Book) -> Client:
    return Client(book)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "inputs"


@pytest.fixture
def store(root: Path, book: Book) -> InputStore:
    return opened(root, book)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def place(content: bytes, extension: str = "png") -> str:
    return f"{digest(content)[:2]}/{digest(content)}.{extension}"


async def test_an_input_lies_under_its_digest_with_the_very_bytes_that_came(
    store: InputStore, root: Path, client: Client, tmp_path: Path
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", "somebody wrote this")
    Image.new("RGB", (8, 4)).save(tmp_path / "x.png", pnginfo=texts)
    content = (tmp_path / "x.png").read_bytes()
    file = await add(store, client, content)
    assert (file.sha256, file.size_bytes, file.width, file.height) == (digest(content), len(content), 8, 4)
    assert files(root) == {place(content)}
    assert (root / place(content)).read_bytes() == content
    assert store.sizes == {digest(content): len(content)}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
async def test_every_kind_stays_as_it_came_whether_it_is_held_or_written_in_pieces(
    store: InputStore, root: Path, client: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for held, colour in ((64, 1), (1_048_576, 2)):
        monkeypatch.setattr(store_module, "HELD_BYTES", held)
        content = image(kind, colour)
        file = await add(store, client, content, f"x.{kind.lower()}")
        assert (root / place(content, file.extension)).read_bytes() == content


async def test_nobody_else_may_read_the_inputs(store: InputStore, root: Path, client: Client) -> None:
    await add(store, client)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (root, *root.iterdir(), root / place(PNG))]
    assert modes == [0o700, 0o700, 0o600]


async def test_fifty_clients_with_the_same_bytes_end_with_one_file_that_is_checked_once(
    store: InputStore, root: Path, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[str] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        walked.append("x")
        return original(*args, **kwargs)

    original = store_module.walk_alone
    monkeypatch.setattr(store_module, "walk_alone", counting)
    clients = [Client(book, f"app-{number}") for number in range(50)]
    found = await asyncio.gather(*(add(store, one) for one in clients))
    assert {file.sha256 for file in found} == {digest(PNG)}
    assert files(root) == {place(PNG)}
    assert len(walked) == 1
    assert len(book.owners[digest(PNG)]) == 50
    assert store.used_bytes == len(PNG)


async def test_bytes_that_nothing_proves_are_one_file_and_have_the_name_that_each_client_gives_them(
    store: InputStore, root: Path, client: Client
) -> None:
    content = b"nobody knows this"
    assert (await add(store, client, content, "a.abc")).extension == "abc"
    assert (await add(store, client, content, "a.xyz")).extension == "xyz"
    assert files(root) == {place(content, "abc")}
    for extension in ("abc", "xyz"):
        with store.open(hashlib.sha256(content).hexdigest(), extension) as file:  # type: ignore[union-attr]
            assert file.read() == content


@pytest.mark.parametrize(
    ("content", "named", "reason"),
    [
        (b"", "a.png", "empty"),
        (PNG[:-1], "a.png", "truncated"),
        (PNG + b"x", "", "trailing"),
        (b"nobody knows this", "", "unknown_kind"),
        (b"nobody knows this", "a.png", "unknown_kind"),
        (bytes(1_000_001), "a.abc", "too_large"),
    ],
)
async def test_a_file_that_is_not_whole_is_refused_and_leaves_nothing(
    store: InputStore, root: Path, client: Client, content: bytes, named: str, reason: str
) -> None:
    with pytest.raises(Broken) as refused:
        await add(store, client, content, named)
    assert refused.value.reason == reason
    assert files(root) == set()
    assert client.recorded == []
    assert store.used_bytes == 0


async def test_the_limit_of_bytes_stops_the_stream(root: Path, book: Book, client: Client) -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield bytes(1000)

    with pytest.raises(Broken, match="larger than 4500 bytes"):
        await opened(root, book, bytes_max=4500).add(endless(), "a.abc", client)
    assert len(taken) == 5
    assert files(root) == set()


async def test_a_large_file_needs_no_memory(root: Path, book: Book, client: Client) -> None:
    size = 64 * 1_048_576

    async def many() -> AsyncIterator[bytes]:
        for _ in range(size // 65_536):
            yield bytes(65_536)

    store = opened(root, book, bytes_max=2**30, quota_bytes=2**30)
    tracemalloc.start()
    try:
        file = await store.add(many(), "x.abc", client)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.size_bytes == size
    assert peak < 12 * 1_048_576


# ---- room


async def test_what_would_be_above_the_quota_is_refused_unless_the_client_has_it_already(
    root: Path, book: Book, client: Client
) -> None:
    store = opened(root, book, quota_bytes=len(PNG) + 10)
    await add(store, client)
    with pytest.raises(NoRoom, match=r"Inputs take .* and may take") as refused:
        await add(store, client, wav())
    assert refused.value.is_quota
    await add(store, client)
    with pytest.raises(NoRoom):
        await add(store, Client(book, "who must not learn that it is here"))
    assert files(root) == {place(PNG)}


async def test_files_that_come_together_share_the_quota(root: Path, book: Book, client: Client) -> None:
    store = opened(root, book, quota_bytes=len(PNG) * 2 + 10)
    some = [image(colour=colour) for colour in range(6)]
    ends = await asyncio.gather(*(add(store, client, content) for content in some), return_exceptions=True)
    assert sum(isinstance(end, NoRoom) for end in ends) == 4
    assert store.used_bytes == sum(path.stat().st_size for path in root.rglob("*.png")) == len(PNG) * 2


async def test_a_disk_that_is_nearly_full_is_noticed_before_and_during_a_file(
    root: Path, book: Book, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, free = opened(root, book, free_min_bytes=1_000), 1_500
    monkeypatch.setattr(room_module, "_free", lambda folder: free)
    await store.check_room(500)
    with pytest.raises(NoRoom, match=r"has 1\.5 KiB free and needs 1000 bytes beside the file of 501 bytes") as refused:
        await store.check_room(501)
    assert not refused.value.is_quota
    monkeypatch.setattr(room_module, "LOOK_EVERY_BYTES", 10)
    await add(store, client)
    free = 999
    with pytest.raises(NoRoom):
        await add(store, client, image(colour=9))
    assert files(root) == {place(PNG)}


async def test_a_file_that_is_too_large_is_known_before_it_comes(store: InputStore) -> None:
    with pytest.raises(Broken) as refused:
        await store.check_room(1_000_001)
    assert refused.value.reason == "too_large"


@pytest.mark.parametrize("step", ["new_file", "append", "walk_alone", "proved", "sync_file", "sync_folder"])
async def test_trouble_of_the_disk_passes_and_leaves_nothing(
    store: InputStore, root: Path, client: Client, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "HELD_BYTES", 64)
    for module in (store_module, files_module, store_module.folder):
        monkeypatch.setattr(module, step, full, raising=False)
    with pytest.raises(NoPlace, match="No space"):
        await add(store, client)
    assert files(root) == set()
    assert store.used_bytes == 0


async def test_a_failed_fsync_ends_the_process(
    store: InputStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    watching = asyncio.create_task(store.watch())
    monkeypatch.setattr(files_module.durable, "sync_file", fails)
    with pytest.raises(SpoolUnusable):
        await add(store, client)
    with pytest.raises(SpoolUnusable, match="could not be synced"):
        async with asyncio.timeout(DEADLINE_S):
            await watching


# ---- the event


@pytest.mark.parametrize(("code", "is_left"), [("busy", False), ("internal", True)])
async def test_a_file_that_is_not_recorded_goes_unless_it_may_be_recorded_after_all(
    store: InputStore, root: Path, book: Book, code: str, is_left: bool
) -> None:
    def refused() -> None:
        raise Refused(code)

    with pytest.raises(Refused):
        await add(store, Client(book, before=refused))
    assert files(root) == ({place(PNG)} if is_left else set())


async def test_a_refused_client_does_not_take_away_what_another_has(
    store: InputStore, root: Path, book: Book, client: Client
) -> None:
    def refused() -> None:
        raise Refused("busy")

    await add(store, client)
    with pytest.raises(Refused):
        await add(store, Client(book, "b", refused))
    assert files(root) == {place(PNG)}


async def test_a_client_that_leaves_while_it_is_recorded_leaves_a_file_with_its_event(
    store: InputStore, root: Path, book: Book
) -> None:
    def leaves() -> None:
        adding.cancel()

    adding = asyncio.create_task(add(store, Client(book, before=leaves)))
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert digest(PNG) in book.here
    assert files(root) == {place(PNG)}


@pytest.mark.parametrize("step", ["walk_alone", "proved", "sync_folder"])
async def test_a_client_that_leaves_before_leaves_nothing(
    store: InputStore, root: Path, client: Client, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    loop = asyncio.get_running_loop()

    def leaving(*args: Any, **kwargs: Any) -> Any:
        loop.call_soon_threadsafe(adding.cancel)
        return original(*args, **kwargs)

    original = getattr(store_module, step)
    monkeypatch.setattr(store_module, step, leaving)
    adding = asyncio.create_task(add(store, client))
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert client.recorded == []
    assert files(root) == set()
    assert store.used_bytes == 0


# ---- out


async def test_what_is_opened_has_all_its_bytes(store: InputStore, root: Path, client: Client) -> None:
    await add(store, client)
    file = store.open(digest(PNG), "png")
    assert file is not None
    with file:
        assert file.read() == PNG
    (root / place(PNG)).write_bytes(PNG[:-1] + b"?")
    assert store.open(digest(PNG), "png") is None
    await add(store, client)
    again = store.open(digest(PNG), "png")
    assert again is not None
    again.close()
    assert store.open(digest(b""), "png") is None


@pytest.mark.parametrize(
    ("sha256", "extension"), [("..", "png"), ("a" * 63, "png"), ("a" * 64, "png/x"), ("a" * 64, "")]
)
def test_no_path_leads_out_of_the_inputs(store: InputStore, sha256: str, extension: str) -> None:
    with pytest.raises(ValueError):
        store.path_of(sha256, extension)


async def test_what_is_added_again_meanwhile_is_not_removed(
    store: InputStore, root: Path, book: Book, client: Client
) -> None:
    await add(store, client)
    remover = Remover(book, digest(PNG))
    book.forget(digest(PNG))
    adding = asyncio.create_task(add(store, client))
    while not store.is_adding(digest(PNG)):
        await asyncio.sleep(0)
    await store.remove(digest(PNG), remover)
    await adding
    assert (files(root), remover.recorded) == ({place(PNG)}, [])
    book.forget(digest(PNG))
    for _ in range(2):
        await store.remove(digest(PNG), remover)
    assert (files(root), remover.recorded) == (set(), [True, False])
    assert store.used_bytes == 0


async def test_nobody_adds_the_same_bytes_before_it_is_recorded_that_they_have_gone(
    store: InputStore, root: Path, book: Book, client: Client
) -> None:
    await add(store, client)
    book.forget(digest(PNG))
    again = list[asyncio.Task[object]]()

    async def adds_again() -> None:
        again.append(asyncio.create_task(add(store, client)))
        await until(lambda: store._turns[digest(PNG)].users == 2, "it waits for its turn")

    remover = Remover(book, digest(PNG), adds_again)
    await store.remove(digest(PNG), remover)
    assert remover.was_known == [False]
    await again[0]
    assert files(root) == {place(PNG)}


# ---- the start


async def test_a_start_removes_what_no_event_knows_and_nothing_of_others(
    store: InputStore, root: Path, book: Book, client: Client
) -> None:
    unknown, other = image(colour=1), image(colour=2)
    for content in (PNG, unknown, other):
        await add(store, client, content)
    book.forget(digest(unknown))
    book.here[digest(other)] = "webp"
    own = {"ab/notes.txt", "notes.txt", f"ab/{'c' * 64}.png", "abc/x.png"}
    left = {".7.raw", f"ab/.{'c' * 64}-7.raw"}
    for name in own | left:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    again = opened(root, book)
    assert await again.sweep() == 4
    assert files(root) == {place(PNG), *own}
    assert again.sizes == {digest(PNG): len(PNG)}


async def test_a_file_of_which_the_process_died_again_and_again_is_refused_from_then_on(
    root: Path, book: Book, client: Client
) -> None:
    shard = root / digest(PNG)[:2]
    for _ in range(3):
        await opened(root, book).sweep()
        shard.mkdir(exist_ok=True)
        (shard / f".{digest(PNG)}-1.pinned").write_bytes(PNG)
    for _ in range(2):
        store = opened(root, book)
        await store.sweep()
        with pytest.raises(Broken, match="died 3 times"):
            await add(store, client)
    assert (await add(store, client, image(colour=1))).extension == "png"


async def test_a_check_that_comes_to_its_end_was_not_to_blame(root: Path, book: Book, client: Client) -> None:
    shard = root / digest(PNG)[:2]
    shard.mkdir(parents=True)
    (shard / f".{digest(PNG)}-1.pinned").write_bytes(PNG)
    store = opened(root, book)
    await store.sweep()
    await add(store, client)
    assert files(root) == {place(PNG)}


async def test_a_folder_that_cannot_be_made_is_said(root: Path, book: Book) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(exist_ok=True)
    root.write_bytes(b"a file")
    with pytest.raises(SpoolUnusable, match=r"\[inputs\] path"):
        opened(root, book)


async def test_a_stream_that_breaks_leaves_nothing(store: InputStore, root: Path, client: Client) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for piece in stream(PNG[:50], 10):
            yield piece
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.add(breaking(), "", client)
    assert files(root) == set()
