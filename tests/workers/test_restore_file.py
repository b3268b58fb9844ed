"""Laws of bringing a file back: only the bytes that were pinned, from whoever has them, and lost only if all say so."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.rows import ImageRow, Upload
from comfyledger.core.values import StoreRef
from comfyledger.plugin_api import Held, LaneFault, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.restore_file import CannotAsk, FileRestorer, NobodyHas, SourceTrouble
from support.core_builders import given, stores, submit

BYTES = b"what was pinned" * 1_000
DOWN = LaneFault("not_reached", "no route to host")


class Shelf:
    """A store of files by name. `lies`: what it gives is not what it says that it holds."""

    def __init__(self, **held: bytes) -> None:
        self.held = {name.replace("_", "/"): content for name, content in held.items()}
        self.asked: list[str] = []
        self.fetched: list[str] = []
        self.trouble: LaneFault | None = None
        self.lies = False

    async def check(self, public_id: str, extension: str) -> Held | None:
        self.asked.append(public_id)
        if self.trouble is not None:
            raise StoreTrouble(self.trouble)
        content = self.held.get(public_id)
        md5 = hashlib.md5(content).hexdigest() if content is not None else ""
        return Held(public_id, extension, len(content), md5) if content is not None else None

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        assert target.read_bytes() == b"", "the file is there and empty"
        self.fetched.append(public_id)
        target.write_bytes(b"x" * len(self.held[public_id]) if self.lies else self.held[public_id])


class Rows:
    """A reader that knows one batch."""

    def __init__(self, *names: str) -> None:
        self._row = given(submit(quantity=1, into=names)).batch()

    async def batch(self, batch_id: str) -> Any:
        assert batch_id == self._row.batch_id
        return self._row


def image(**uploads: str) -> ImageRow:
    digests = {name: hashlib.new(name, BYTES).hexdigest() for name in ("sha256", "md5")}
    rows = tuple(Upload(store, state) for store, state in uploads.items())  # type: ignore[arg-type]
    return ImageRow("b1", 1, 1, "f", "n", 1, "areg", "kept", rows, size_bytes=len(BYTES), extension="png", **digests)


def bringer(place: Path, **shelves: Shelf) -> FileRestorer:
    names = ("folder", "cloud")
    identities = {ref.name: ref.identity for ref in stores(*names)}
    opened = {name: OpenedStore(name, "shelf", identities[name], shelf) for name, shelf in shelves.items()}  # type: ignore[arg-type]
    return FileRestorer(opened, Rows(*names), Spool(place / "spool"))  # type: ignore[arg-type]


def spooled(folder: Path) -> Path:
    return folder / "spool" / "b1" / "1.png"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "spool").rglob("*") if path.is_file())


async def test_a_whole_file_needs_no_store(tmp_path: Path) -> None:
    shelf = Shelf()
    made = bringer(tmp_path, folder=shelf)
    spooled(tmp_path).parent.mkdir()
    spooled(tmp_path).write_bytes(BYTES)
    await made.restore(image(folder="owed"))
    assert shelf.asked == []


@pytest.mark.parametrize("spoiled", [None, b"", b"x" * len(BYTES)])
async def test_a_file_that_is_gone_or_altered_comes_from_a_store_that_has_it(
    tmp_path: Path, spoiled: bytes | None
) -> None:
    first, second = Shelf(), Shelf(f_n=BYTES)
    made = bringer(tmp_path, folder=first, cloud=second)
    if spoiled is not None:
        spooled(tmp_path).parent.mkdir()
        spooled(tmp_path).write_bytes(spoiled)
    await asyncio.gather(*(made.restore(image(folder="owed", cloud="stored")) for _ in range(3)))
    assert spooled(tmp_path).read_bytes() == BYTES
    assert left(tmp_path) == ["1.png"]
    assert (first.asked, second.asked) == ([], ["f/n"]), "who has it by the log is asked first, and once"


async def test_a_store_that_got_it_under_another_name_is_asked_for_that(tmp_path: Path) -> None:
    shelf = Shelf(f_old=BYTES)
    row = image(folder="owed")
    uploads = (*row.uploads, Upload("cloud", "stored", name="f/old"))
    row = ImageRow(**{field: getattr(row, field) for field in row.__struct_fields__} | {"uploads": uploads})
    await bringer(tmp_path, folder=Shelf(), cloud=shelf).restore(row)
    assert shelf.asked == ["f/old"]


async def test_what_every_store_lacks_or_has_otherwise_is_lost(tmp_path: Path) -> None:
    liar = Shelf(f_n=BYTES)
    liar.lies = True
    for second in (Shelf(), Shelf(f_n=b"others"), Shelf(f_n=b"y" * len(BYTES)), liar):
        with pytest.raises(NobodyHas):
            await bringer(tmp_path, folder=Shelf(), cloud=second).restore(image(folder="owed", cloud="stored"))
        assert left(tmp_path) == []
        assert bool(second.fetched) == second.lies, "what is known to be something else is not fetched"


async def test_while_one_store_cannot_answer_nothing_is_lost(tmp_path: Path) -> None:
    down = Shelf()
    down.trouble = DOWN
    with pytest.raises(SourceTrouble, match="cloud: not_reached"):
        await bringer(tmp_path, folder=Shelf(), cloud=down).restore(image(folder="owed", cloud="stored"))
    waiting = bringer(tmp_path, folder=Shelf())
    waiting._stores["cloud"] = OpenedStore("cloud", "shelf", waiting=down, problem="not yet")  # type: ignore[index, arg-type]
    with pytest.raises(SourceTrouble, match="not yet"):
        await waiting.restore(image(folder="owed", cloud="stored"))
    await bringer(tmp_path, folder=Shelf(f_n=BYTES), cloud=down).restore(image(folder="owed", cloud="stored"))
    assert spooled(tmp_path).read_bytes() == BYTES


async def test_a_store_that_had_it_and_is_not_what_it_was_is_for_a_person(tmp_path: Path) -> None:
    with pytest.raises(CannotAsk, match="cloud, which had it"):
        await bringer(tmp_path, folder=Shelf()).restore(image(folder="owed", cloud="stored"))
    moved = bringer(tmp_path, folder=Shelf())
    elsewhere = StoreRef("cloud", "cloud:/elsewhere")
    moved._stores["cloud"] = OpenedStore("cloud", "shelf", elsewhere.identity, Shelf(f_n=BYTES))  # type: ignore[index, arg-type]
    with pytest.raises(CannotAsk):
        await moved.restore(image(folder="owed", cloud="stored"))
    with pytest.raises(NobodyHas):
        await bringer(tmp_path, folder=Shelf()).restore(image(folder="owed", cloud="owed"))


async def test_bringing_back_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(Shelf):
        async def fetch(self, public_id: str, extension: str, target: Path) -> None:
            target.write_bytes(BYTES[:10])
            begun.set()
            await asyncio.Event().wait()

    bringing = asyncio.create_task(bringer(tmp_path, folder=Slow(f_n=BYTES)).restore(image(folder="owed")))
    await begun.wait()
    bringing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bringing
    assert list((tmp_path / "spool").iterdir()) == []
