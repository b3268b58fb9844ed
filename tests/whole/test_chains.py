"""Images that are made from images: each waits for its source, uses just its bytes, and shares its end."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

import pytest

from support.chains import chain, link, sources_fixed
from support.doomed_lives import Seen, die, last_life
from support.ledger_builders import check_tables
from support.processes import Doomed, House
from support.waiting import until
from support.wire_app import App, Frame, Refusal

NAMES = [f"Areg_opal-fever_{name}" for name in ("image_1", "image_2", "video_1")]


async def ends(app: App, replies: list[Frame]) -> list[Frame]:
    """The only image of each batch, once all are settled."""
    batches = await app.settled(*(reply["batch_id"] for reply in replies))
    return [batch["images"][0] for batch in batches]


def fate(image: Frame) -> tuple[str, str]:
    return image["state"], image.get("code", "")


async def image_of(app: App, reply: Frame) -> Frame:
    return dict((await app.batch(reply["batch_id"]))["images"][0])


def check_bytes(house: House, images: list[Frame], log: list[Frame]) -> None:
    """Each link was made from just the bytes that the one before it has in its store."""
    files = house.stored()
    assert sorted(files) == sorted(image["public_id"] for image in images)
    assert sources_fixed(log) == [image["sha256"] for image in images[:2]]
    for image in images[:2]:
        name = f"comfyledger/{image['sha256'][:2]}/{image['sha256']}.png"
        assert (house.comfyui.input / name).read_bytes() == files[image["public_id"]].read_bytes()
    assert images[1]["width"] == 2 * images[0]["width"]
    assert images[2]["medium"] == "video"


async def test_a_chain_that_is_asked_for_at_once_is_made_link_by_link(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        images = await ends(app, await chain(app))
        assert [(image["name"], image["state"]) for image in images] == [(name, "stored") for name in NAMES]
        check_bytes(house, images, await app.log())
    assert [one["filename"].partition(".")[0] for one in house.comfyui.uploads()] == [
        image["sha256"] for image in images[:2]
    ]


# ---- the first link comes to an end


async def fail_all(app: App, house: House) -> list[Frame]:
    """A chain of which the first link fails."""
    house.comfyui.control(fail_next=3)
    replies = await chain(app)
    images = await ends(app, replies)
    assert [fate(image) for image in images] == [
        ("failed", "execution_error"),
        *[("failed", "input_failed")] * 2,
    ]
    assert [image["text"] for image in images[1:]] == [
        f"{NAMES[0]} failed: execution_error.",
        f"{NAMES[1]} failed: {NAMES[0]} failed: execution_error.",
    ]
    return replies


async def test_a_link_that_fails_ends_the_chain_with_its_name(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        replies = await fail_all(app, house)
        told = await app.ask("explain", what=NAMES[1])
        assert told["owed"][0]["command"] == f"comfyledger retry {replies[0]['batch_id']} --image 1"
    assert len(house.comfyui.posted()) == 3


@pytest.mark.parametrize("place", range(3))
async def test_a_retry_of_any_link_makes_the_whole_chain(house: House, place: int) -> None:
    await house.begin()
    async with house.app("app") as app:
        replies = await fail_all(app, house)
        assert (await app.ask("retry", batch_id=replies[place]["batch_id"]))["images"] == 3
        await until(lambda: app_settled(app) == 6, "all are settled again")
        images = [await image_of(app, reply) for reply in replies]
        assert [fate(image) for image in images] == [("stored", "")] * 3
        check_bytes(house, images, await app.log())


def app_settled(app: App) -> int:
    """How often batches were settled, as far as the first subscription says."""
    first = next((event["subscription"] for event in app.events), None)
    return sum((event["kind"], event["subscription"]) == ("batch_settled", first) for event in app.events)


async def test_a_recovery_makes_the_whole_chain_whatever_it_finds_first(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        replies = await fail_all(app, house)
        recovered = await app.ask("recover")
        assert recovered["images"] == 3
        await until(lambda: app_settled(app) == 6, "all are settled again")
        assert [fate(await image_of(app, reply)) for reply in replies] == [("stored", "")] * 3


async def test_a_link_that_is_cancelled_ends_the_chain(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause", scope="backend:main")
        replies = await chain(app)
        assert [(await app.batch(reply["batch_id"])).get("waiting", 0) for reply in replies] == [0, 1, 1]
        await app.ask("cancel", batch_id=replies[0]["batch_id"])
        images = await ends(app, replies)
        assert [image["text"] for image in images[1:]] == [
            f"{NAMES[0]} was cancelled.",
            f"{NAMES[1]} failed: {NAMES[0]} was cancelled.",
        ]
    assert house.comfyui.posted() == []


async def test_a_link_that_waits_can_be_cancelled(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause", scope="backend:main")
        replies = await chain(app)
        await app.ask("cancel", batch_id=replies[1]["batch_id"])
        await app.ask("resume", scope="backend:main")
        images = await ends(app, replies)
        assert [image["state"] for image in images] == ["stored", "cancelled", "failed"]


async def test_a_link_that_no_store_takes_has_bytes_and_is_used(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause", scope="backend:main")
        replies = await chain(app)
        taken = house.images / f"{replies[0]['public_ids'][0]}.png"
        taken.parent.mkdir(parents=True)
        taken.write_bytes(b"another file")
        await app.ask("resume", scope="backend:main")
        images = await ends(app, replies)
        assert [fate(image) for image in images] == [
            ("parked", "collision"),
            *[("stored", "")] * 2,
        ]
        assert sources_fixed(await app.log()) == [image["sha256"] for image in images[:2]]


# ---- the first link is forgotten


async def forgotten_pending(app: App) -> list[Frame]:
    await app.ask("pause", scope="backend:main")
    replies = await chain(app)
    await app.ask("forget", batch_id=replies[0]["batch_id"])
    return replies


async def forgotten_before_it_is_looked_at(app: App) -> list[Frame]:
    """It is stored while the batch that waits for it is held."""
    await app.ask("pause", scope="backend:main")
    replies = await chain(app)
    await app.ask("pause", scope=f"batch:{replies[1]['batch_id']}")
    await app.ask("resume", scope="backend:main")
    await app.settled(replies[0]["batch_id"])
    await app.ask("forget", batch_id=replies[0]["batch_id"])
    await app.ask("resume", scope=f"batch:{replies[1]['batch_id']}")
    return replies


async def forgotten_before_it_is_sent(app: App) -> list[Frame]:
    """It is stored and its bytes are fixed, and the batch that is made from it is held."""
    first = await link(app, 1)
    await app.settled(first["batch_id"])
    await app.ask("pause", scope="backend:main")
    replies = [first, *[await link(app, place) for place in (2, 3)]]
    await until_fixed(app, replies[1])
    await app.ask("forget", batch_id=first["batch_id"])
    await app.ask("resume", scope="backend:main")
    return replies


@pytest.mark.parametrize(
    "forgotten", [forgotten_pending, forgotten_before_it_is_looked_at, forgotten_before_it_is_sent]
)
async def test_a_link_that_is_forgotten_ends_what_is_not_made_yet(house: House, forgotten: Any) -> None:
    await house.begin()
    async with house.app("app") as app:
        replies = await forgotten(app)
        images = await ends(app, replies)
        assert [fate(image) for image in images] == [("forgotten", ""), *[("failed", "input_failed")] * 2]
        with pytest.raises(Refusal, match=f"{NAMES[0]}, which image 1 is made from, was forgotten"):
            await app.ask("retry", batch_id=replies[1]["batch_id"])
    assert house.comfyui.uploads() == []


async def test_what_is_made_already_stays_when_its_source_is_forgotten(house: House) -> None:
    await house.begin()
    async with house.app("app") as app:
        replies = await chain(app)
        images = await ends(app, replies)
        await app.ask("forget", batch_id=replies[0]["batch_id"])
        assert [(await image_of(app, reply))["state"] for reply in replies] == ["forgotten", "stored", "stored"]
        copy = house.comfyui.input / f"comfyledger/{images[0]['sha256'][:2]}/{images[0]['sha256']}.png"
        original = house.stored()
        await until(lambda: copy.stat().st_size < 200, "its copy at ComfyUI is overwritten")
        assert images[1]["public_id"] in original


# ---- the first link is lost


async def test_a_link_that_is_rendered_again_gives_its_new_bytes_to_a_retry(house: House) -> None:
    """The old bytes were fixed, and nobody has them any more."""
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause", scope="store:folder")
        first = await link(app, 1)
        lost = (await app.counted("kept", 1, first["batch_id"]))["images"][0]["sha256"]
        await app.ask("pause", scope="backend:main")
        second = await link(app, 2)
        await until_fixed(app, second)
        for path in (house.state / "spool" / first["batch_id"]).glob("*.png"):
            path.unlink()
        await app.ask("resume", scope="store:folder")
        await app.counted("pending", 1, first["batch_id"])
        await app.ask("resume", scope="backend:main")
        images = await ends(app, [first, second])
        assert [fate(image) for image in images] == [("stored", ""), ("failed", "input_failed")]
        assert (await app.ask("retry", batch_id=second["batch_id"]))["images"] == 1
        await app.counted("stored", 1, second["batch_id"])
        assert sources_fixed(await app.log()) == [lost, images[0]["sha256"]]
    assert lost != images[0]["sha256"]


async def until_fixed(app: App, reply: Frame) -> None:
    async def is_fixed() -> bool:
        return "waiting" not in await app.batch(reply["batch_id"])

    await until(is_fixed, "the source is fixed")


# ---- the daemon dies


async def ask(app: App, seen: Seen, *, to_the_end: bool = False) -> None:
    await seen.subscribe(app)
    links = [{name: value for name, value in reply.items() if name != "repeated"} for reply in await chain(app)]
    seen.replies.append({"links": links, "batch_id": links[-1]["batch_id"]})
    if to_the_end:

        def settled() -> int:
            return sum(event["kind"] == "batch_settled" for event in (*seen.events, *app.events))

        await until(lambda: settled() == 3, "all links are settled")


PLACES = (
    "sources.found",
    "sources.found:2",
    "group.written:6",
    "group.committed:6",
    "prompt.owed:2",
    "prompt.intended:2",
    "input.sending",
    "input.uploaded",
    "input.verified",
    "prompt.posting:2",
    "prompt.answered:2",
    "prompt.end_logged",
    "fetch.logged",
    "upload.logged:2",
)


@pytest.fixture
def doomed(doomed_house: House) -> House:
    return doomed_house


@pytest.mark.parametrize("place", PLACES)
async def test_a_chain_goes_on_wherever_the_daemon_dies(doomed: House, place: str) -> None:
    shutil.rmtree(doomed.comfyui.input / "comfyledger", ignore_errors=True)
    seen, since = Seen(), len(doomed.comfyui.posted())
    await die(doomed, place, seen, partial(ask, seen=seen))
    await last_life(doomed, seen, partial(ask, seen=seen, to_the_end=True))
    seen.check_replies()
    async with doomed.app("app") as app:
        images = [await image_of(app, reply) for reply in seen.replies[-1]["links"]]
        check_bytes(doomed, images, await app.log())
    assert [fate(image) for image in images] == [("stored", "")] * 3
    posted = doomed.comfyui.posted()[since:]
    assert len(posted) == len(set(posted)) == 3
    check_tables(doomed.state / "ledger.db")
    assert doomed.daemon.errors() == []


async def test_a_chain_ends_with_its_first_link_though_the_daemon_dies_in_between(doomed: House) -> None:
    """ComfyUI is slow enough that all links are asked for before the first one has failed."""
    doomed.comfyui.control(fail_next=3, seconds_per_image=0.4)
    seen = Seen()
    await die(doomed, "prompt.end_logged:3", seen, partial(ask, seen=seen))
    await last_life(doomed, seen, partial(ask, seen=seen, to_the_end=True))
    async with doomed.app("app") as app:
        images = [await image_of(app, reply) for reply in seen.replies[-1]["links"]]
    assert [fate(image) for image in images] == [
        ("failed", "execution_error"),
        *[("failed", "input_failed")] * 2,
    ]
    check_tables(doomed.state / "ledger.db")


@pytest.mark.parametrize("place", ["group.written", "group.committed"])
async def test_a_retry_takes_up_the_whole_chain_or_nothing(doomed: House, place: str) -> None:
    doomed.daemon = Doomed(doomed)
    await doomed.daemon.begin()
    async with doomed.app("app") as app:
        replies = await fail_all(app, doomed)
    doomed.daemon.end()
    ids = [reply["batch_id"] for reply in replies]
    await die(doomed, place, Seen(), partial(App.ask, kind="retry", batch_id=ids[0]))
    doomed.daemon = Doomed(doomed)
    await doomed.daemon.begin()
    async with doomed.app("app") as app:
        if place == "group.written":
            assert [fate(await image_of(app, reply))[0] for reply in replies] == ["failed"] * 3
            await app.ask("retry", batch_id=ids[0])
        for batch_id in ids:
            await app.counted("stored", 1, batch_id)
    check_tables(doomed.state / "ledger.db")
