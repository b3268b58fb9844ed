"""What recovery would do about each image, what stores are asked for it, and what the door refuses."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from comfyledger.admission import recover
from comfyledger.admission.recover import commands_of, compare_with_store
from comfyledger.admission.recover_plan import Scope, Step, steps_of, stored_in, summed
from comfyledger.core.commands import OweStore, RenumberImages, RetryBatch
from comfyledger.core.decide.decide import Message
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.plugin_api import Held, LaneFault, Page, StoreTrouble
from comfyledger.plugins import OpenedStore
from support.core_builders import (
    cancel,
    dropping,
    failing,
    given,
    one_kept,
    renumbering,
    stores,
    submit,
    unwanted,
    uploaded,
    uploading,
)
from support.wire_app import Refusal

TWO = submit(quantity=1, into=("folder", "cloud"))
PLACES = {ref.name: ref.identity for ref in stores("folder", "cloud", "new")}


def planned(*messages: Message | tuple[Message, ...], places: dict[str, str] = PLACES, **scope: Any) -> list[str]:
    """The steps about the first image, as `kind store code`."""
    ledger = given(*messages)
    found = steps_of(ledger.image(), ledger.batch(), Scope(places, **scope))
    return [f"{step.kind} {step.store} {step.code}".strip() for step in found]


@pytest.mark.parametrize(
    ("messages", "scope", "steps"),
    [
        ((TWO, one_kept(), uploaded(), unwanted(1, "cloud")), {}, ["upload cloud collision"]),
        ((TWO, one_kept(), unwanted(), unwanted(1, "cloud")), {"store": "cloud"}, ["upload cloud collision"]),
        ((TWO, one_kept(), uploaded(), unwanted(1, "cloud")), {"code": "refused"}, []),
        ((TWO, one_kept(), uploaded(), unwanted(1, "cloud")), {"new_number": True}, ["renumber cloud collision"]),
        ((TWO, one_kept(), uploading(), unwanted(1, "cloud")), {"new_number": True}, ["upload cloud collision"]),
        ((TWO, failing(1)), {}, ["render  execution_error"]),
        ((TWO, failing(1)), {"code": "timeout"}, []),
        ((TWO, failing(1)), {"store": "cloud", "fill": True}, []),
        ((TWO, one_kept(), uploaded()), {"store": "new", "fill": True}, ["fill new"]),
        ((TWO, one_kept(), uploaded()), {"store": "new"}, []),
        ((TWO, one_kept(), uploaded()), {"store": "folder", "fill": True}, []),
        ((TWO, one_kept(), uploaded(), dropping("cloud")), {}, []),
        ((TWO, one_kept(), uploaded(), dropping("cloud")), {"store": "cloud", "fill": True}, ["fill cloud"]),
        ((TWO, cancel()), {"store": "new", "fill": True}, []),
        ((TWO, one_kept()), {}, []),
    ],
)
def test_a_step_is_what_can_be_mended_and_is_asked_for(messages: Any, scope: Any, steps: list[str]) -> None:
    assert planned(*messages, **scope) == steps


def test_a_store_that_is_not_what_the_batch_means_is_only_shown() -> None:
    messages = (TWO, one_kept(), uploaded(), unwanted(1, "cloud"))
    assert planned(*messages, places={"folder": "folder:/there"}) == ["elsewhere cloud collision"]
    assert planned(*messages, places=PLACES | {"cloud": "cloud:/moved"}) == ["elsewhere cloud collision"]


def test_what_was_forgotten_or_is_in_a_state_unknown_here_has_no_steps() -> None:
    ledger = given(TWO, one_kept(), uploaded(), unwanted(1, "cloud"))
    row = msgspec.structs.replace(ledger.image(), state="forgotten")  # type: ignore[arg-type]
    scope = Scope(PLACES, "cloud", fill=True, new_number=True)
    assert list(steps_of(row, ledger.batch(), scope)) == list(stored_in(row, Scope(PLACES))) == []


def test_a_store_is_asked_for_the_name_that_it_got() -> None:
    ledger = given(TWO, one_kept(), uploaded(), unwanted(1, "cloud"))
    before = ledger.image().public_id
    ledger.given(renumbering(1))
    assert list(stored_in(ledger.image(), Scope(PLACES))) == [("folder", before)]
    assert list(stored_in(ledger.image(), Scope(PLACES, "cloud"))) == []


def test_steps_alike_are_one_with_the_first_names() -> None:
    ledger = given(submit(quantity=7))
    for index in range(1, 8):
        ledger.given(one_kept(index), unwanted(index))
    images = [ledger.image(index) for index in range(1, 8)]
    (one,) = summed(step for image in images for step in steps_of(image, ledger.batch(), Scope(PLACES)))
    assert (one.kind, one.images, len(one.examples)) == ("upload", 7, 5)


def test_steps_about_one_batch_and_store_are_one_command() -> None:
    ledger = given(submit(quantity=6))
    batch, images = ledger.batch(), [ledger.image(index) for index in range(1, 7)]
    kinds = ("upload", "missing", "fill", "render", "renumber", "renumber")
    steps = [Step(kind, image, "folder") for kind, image in zip(kinds, images, strict=True)]  # type: ignore[arg-type]
    assert list(commands_of("cli", steps, {"b1": batch}, Scope(PLACES))) == [
        OweStore("cli", "b1", (1, 2, 3), StoreRef("folder", PLACES["folder"])),
        RetryBatch("cli", "b1", (4,)),
        RenumberImages("cli", "b1", (batch.series,), (5, 6)),
    ]


# ---- what stores say


class Shelf:
    """A store of files; its list says digests or not."""

    identity = "shelf:1"

    def __init__(self, held: dict[str, bytes], digests: bool, behind: str = "") -> None:
        self.held = {name: Held(name, "png", len(bytes_), md5(bytes_)) for name, bytes_ in held.items()}
        self.digests = digests
        self.behind = behind
        self.asked: list[str] = []
        self.trouble: LaneFault | None = None

    async def page(self, prefix: str, cursor: str = "") -> Page:
        self.asked.append(f"list {prefix}")
        found = [held for name, held in self.held.items() if name.startswith(prefix) and name != self.behind]
        return Page(tuple(held if self.digests else msgspec.structs.replace(held, md5="") for held in found))

    async def check(self, public_id: str, extension: str) -> Held | None:
        self.asked.append(public_id)
        if self.trouble is not None:
            raise StoreTrouble(self.trouble)
        return self.held.get(public_id)

    async def close(self) -> None:
        pass


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def row(name: str, content: bytes = b"ours") -> ImageRow:
    folder, _, file = name.rpartition("/")
    sha256 = hashlib.sha256(content).hexdigest()
    sizes = {"md5": md5(content), "sha256": sha256, "size_bytes": len(content), "extension": "png"}
    return ImageRow("b1", 1, 1, folder, file, 1, "areg", **sizes)  # type: ignore[arg-type]


async def test_a_folder_is_listed_and_only_files_missing_there_are_checked() -> None:
    names = [f"f/{number}" for number in range(1, 6)]
    shelf = Shelf({"f/1": b"ours", "f/2": b"ours", "f/3": b"other", "f/4": b"ours"}, digests=True, behind="f/4")
    found = await compare_with_store(shelf, {name: row(name) for name in [*names, "g/1"]})  # type: ignore[arg-type]
    assert [found[name] for name in names] == ["held", "held", "different", "held", "missing"]
    assert shelf.asked == ["list f", "f/4", "f/5", "g/1"]


class Account(Shelf):
    """Its list has a page for each kind of file, as Cloudinary's has."""

    async def page(self, prefix: str, cursor: str = "") -> Page:
        self.asked.append(f"list {prefix} {cursor}".rstrip())
        kinds = ("png", "mp4", "glb")
        place = kinds.index(cursor or "png")
        found = tuple(one for one in self.held.values() if one.extension == kinds[place])
        return Page(found, kinds[place + 1] if place < 2 else "")


async def test_the_pages_of_a_folder_are_read_until_its_files_are_found() -> None:
    account = Account({"f/1": b"ours", "f/2": b"ours", "f/3": b"ours"}, digests=True)
    account.held["f/2"] = msgspec.structs.replace(account.held["f/2"], extension="mp4")
    rows = {name: msgspec.structs.replace(row(name), extension=held.extension) for name, held in account.held.items()}
    assert set((await compare_with_store(account, rows)).values()) == {"held"}  # type: ignore[arg-type]
    assert account.asked == ["list f", "list f mp4"]
    account.asked.clear()
    found = await compare_with_store(account, rows | {"f/4": row("f/4")})  # type: ignore[arg-type]
    assert found == dict.fromkeys(rows, "held") | {"f/4": "missing"}
    assert account.asked == ["list f", "list f mp4", "list f glb", "f/4"]


async def test_a_list_without_digests_proves_nothing() -> None:
    shelf = Shelf(dict.fromkeys(("f/1", "f/2"), b"ours") | {"f/3": b"0urs"}, digests=False)
    found = await compare_with_store(shelf, {name: row(name) for name in ("f/1", "f/2", "f/3")})  # type: ignore[arg-type]
    assert found == {"f/1": "held", "f/2": "held", "f/3": "different"}


async def test_a_sha256_is_compared_and_is_enough() -> None:
    """Some stores keep no MD5."""
    shelf = Shelf(dict.fromkeys(("f/1", "f/2", "f/3"), b"ours"), digests=True)
    for name, sha256 in (("f/1", row("").sha256), ("f/2", "0" * 64), ("f/3", row("").sha256)):
        shelf.held[name] = msgspec.structs.replace(shelf.held[name], md5="", sha256=sha256)
    found = await compare_with_store(shelf, {name: row(name) for name in shelf.held})  # type: ignore[arg-type]
    assert found == {"f/1": "held", "f/2": "different", "f/3": "held"}
    assert shelf.asked == ["list f"]


async def test_a_store_in_trouble_is_told_as_what_it_is() -> None:
    shelf = Shelf({}, digests=True)
    shelf.trouble = LaneFault("throttled", "slow down", 30.0)
    with pytest.raises(StoreTrouble, match="slow down"):
        await compare_with_store(shelf, {"f/1": row("f/1"), "g/1": row("g/1")})  # type: ignore[arg-type]


async def test_an_image_that_changed_since_the_page_is_left_as_it_is() -> None:
    ledger = given(submit(quantity=2))
    refusals = iter([Refused("nothing_to_do"), Refused("take_missing"), Refused("storage_full")])

    async def command(_: object) -> None:
        raise next(refusals)

    async def batch(_: object) -> BatchRow:
        return ledger.batch()

    context: Any = SimpleNamespace(engine=SimpleNamespace(command=command), unlimited=SimpleNamespace(batch=batch))
    about = (context, "cli", [Step("render", ledger.image())], {"b1": ledger.batch()}, Scope(PLACES))
    assert [await recover._carry_out(*about) for _ in range(2)] == [0, 0]
    with pytest.raises(Refused, match="full"):
        await recover._carry_out(*about)


# ---- the door


async def refused(app: Any, **data: Any) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        await app.ask("recover", **data)
    return caught.value.code, caught.value.data.get("path", "")


async def test_pages_cover_every_image_once_and_a_busy_store_gives_a_time(door: Any) -> None:
    async with door.app() as app:
        for request in ("r1", "r2"):
            asked = await app.submit(request, quantity=3)
            await app.settled(asked["batch_id"])
        assert await refused(app, store="nowhere") == ("unknown_store", "$.data.store")
        assert await refused(app, batch_id="nowhere") == ("unknown_batch", "$.data.batch_id")
        assert await refused(app, cursor="nonsense") == ("invalid_field", "$.data.cursor")
        assert await refused(app, drop_store="folder", missing=True) == ("invalid_field", "$.data.drop_store")
        sizes, cursor = [], ""
        with door.unchanged():
            while page := await app.ask("recover", missing=True, limit=4, cursor=cursor):
                sizes.append(page["looked_at"])
                cursor = page.get("cursor", "")
                if not cursor:
                    break
        assert sizes == [4, 2]
        next((door.folder / "images").rglob("*_2.png")).unlink()
        found = [
            (await app.ask("recover", missing=True, dry_run=True, **since))["images"]
            for since in ({}, {"since_position": 10_000}, {"since_ms": 2**52}, {"since_position": 1, "since_ms": 1})
        ]
        assert found == [1, 0, 0, 1]
        shelf = Shelf({}, digests=True)
        shelf.trouble = LaneFault("throttled", "slow down", 30.0)
        store = door.context.stores["folder"]
        door.context.stores["folder"] = OpenedStore("folder", "folder", store.identity, shelf)
        with pytest.raises(Refusal) as caught:
            await app.ask("recover", missing=True)
        door.context.stores["folder"] = store
    assert (caught.value.code, caught.value.data["retry_after_s"]) == ("store_unavailable", 30.0)
