"""ComfyUI dies, is silent or runs a prompt twice: what was finished is taken, only what is gone is rendered again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from support.processes import PROBE, EarlierStandIn, House, StandIn
from support.waiting import until
from support.wire_app import Frame, coloured, of_kind

LATE_S = 2.0
"""Later than the daemon waits for an answer, and than it takes to look for the prompt and send it again.

That is 1 s and half a second. A third time it would be sent 2 s after that.
"""

VERSIONS = (StandIn, EarlierStandIn)


async def begin(house: House, version: Callable[[Path, float], StandIn], depth: int) -> None:
    house.comfyui = version(house.folder, 0.0)
    await house.comfyui.begin()
    house.configure(depth=depth, comfyui="request_timeout_s = 1.0")
    await house.daemon.begin()


def files_of(house: House, batch: Frame) -> list[str]:
    folder = house.comfyui.output / "comfyledger" / batch["batch_id"].lower()
    return sorted(path.name for path in folder.iterdir())


def check_numbers(house: House, batch: Frame) -> None:
    """Each image has a picture that was rendered for its own number, in whichever run."""
    rendered, stored = house.rendered(batch["batch_id"]), house.stored()
    for image in batch["images"]:
        own = {drawn for name, drawn in rendered.items() if name.startswith(f"{image['number']}-a1_")}
        assert house.drawn(stored[image["public_id"]]) in own


def as_they_ran(house: House, batch: Frame) -> list[int]:
    """The first number of each prompt of four: the two that have run, then the others.

    They are sent at the same time, each on a connection of its own, so they may come in another order.
    """
    ran = sorted({int(name.partition("-")[0]) for name in files_of(house, batch)})
    assert len(ran) == 2
    return [*ran, *(first for first in batch["numbers"][::4] if first not in ran)]


def names(first: int, attempt: int, counts: list[int]) -> list[str]:
    return [f"{first}-a{attempt}_{count:05}_.png" for count in counts]


async def test_after_a_restart_only_missing_files_are_rendered_again(side_by_side: Any) -> None:
    await side_by_side(restarted_in_the_middle, VERSIONS)


async def restarted_in_the_middle(house: House, version: type[StandIn]) -> None:
    await begin(house, version, depth=5)
    comfyui = house.comfyui
    comfyui.control(hold=["start"])
    async with house.app() as app:
        asked = await app.submit("r1", quantity=20, images_per_prompt=4)

        async def five_are_accepted() -> bool:
            return len(of_kind(await app.log(), "prompt_accepted")) >= 5

        await until(five_are_accepted)
        unknown = {"status": 503, "next": 100_000}
        comfyui.control(refuse={"/history": unknown, "/api/jobs": unknown, "/queue": unknown}, deaf=True)
        comfyui.control(step=2)
        await until(lambda: comfyui.ended() == ["execution_success"] * 2, "two have run and nobody knows")
        await until(lambda: comfyui.control()["held_at"] == "start", "the third runs")
        kept, short, *gone = as_they_ran(house, asked)
        cut = comfyui.output / "comfyledger" / asked["batch_id"].lower() / names(short, 1, [3])[0]
        cut.write_bytes(cut.read_bytes()[:-1])
        await comfyui.restart()
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    cut.unlink()
    house.check_stored(batch)
    assert [image["number"] for image in batch["images"]] == asked["numbers"] == list(range(1, 21))
    whole = [1, 2, 3, 4]
    again = [name for first in (short, *gone) for name in names(first, 2, whole)]
    assert files_of(house, batch) == sorted([*names(kept, 1, whole), *names(short, 1, [1, 2, 4]), *again])
    assert len(comfyui.posted()) == len(set(comfyui.posted())) == 9
    assert [event["data"]["prompt"] for event in of_kind(log, "prompt_failed")] == [short // 4 + 1]
    lost = [event["data"]["prompt"] for event in of_kind(log, "prompt_lost")]
    assert sorted(lost) == [first // 4 + 1 for first in gone]
    assert len(of_kind(log, "image_uploaded")) == 20


async def test_prompts_are_sent_one_after_the_other_and_run_in_their_order(house: House) -> None:
    await begin(house, StandIn, depth=4)
    house.comfyui.control(slow={"/prompt": 0.3})
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(4))
        await until(lambda: len(house.comfyui.posted()) >= 2, "the second is sent")
        assert [event["data"]["prompt"] for event in of_kind(await app.log(), "prompt_accepted")] == [1]
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    house.check_stored(batch)
    assert [event["data"]["prompt"] for event in of_kind(log, "prompt_accepted")] == [1, 2, 3, 4]
    assert [one["prompt_id"] for one in house.comfyui.ledger()["prompts"]] == house.comfyui.posted()


async def test_a_prompt_between_queue_and_history_is_waited_for(side_by_side: Any) -> None:
    await side_by_side(between_queue_and_history, VERSIONS)


async def between_queue_and_history(house: House, version: type[StandIn]) -> None:
    await begin(house, version, depth=1)
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await until(lambda: house.comfyui.control()["held_at"] == "history", "it has ended and is not in the history")
        house.comfyui.control(drop_sockets=True)
        looked = len(house.comfyui.requests())
        await until(lambda: len(house.comfyui.requests()) >= looked + 5, "it was looked for again and again")
        assert len(house.comfyui.posted()) == 1
        house.comfyui.control(hold=[])
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 2
    assert not [event for event in log if event["kind"] in {"prompt_lost", "prompt_removed", "prompt_failed"}]


async def test_an_unanswered_run_cut_by_a_restart_shares_no_names_with_the_next(house: House) -> None:
    """Another run under the same names would count on behind the two files, and pictures would change their numbers."""
    await begin(house, StandIn, depth=2)
    house.comfyui.control(answer_lost_next=2)
    async with house.app() as app:
        done = await app.submit("r1", quantity=4, images_per_prompt=4)
        half = await app.submit("r2", "Mira", quantity=4, images_per_prompt=4, inputs={"width": 64, "height": 72})
        await until(lambda: len(house.comfyui.ended()) == 2, "both have run and nobody was told")
        for name in names(1, 1, [3, 4]):
            (house.comfyui.output / "comfyledger" / half["batch_id"].lower() / name).unlink()
        await house.comfyui.restart()
        batches = await app.settled(done["batch_id"], half["batch_id"])
    house.check_stored(*batches)
    assert files_of(house, done) == names(1, 1, [1, 2, 3, 4])
    assert files_of(house, half) == [*names(1, 1, [1, 2]), *names(1, 2, [1, 2, 3, 4])]
    assert len(house.comfyui.posted()) == len(set(house.comfyui.posted())) == 3


class Trouble(msgspec.Struct, frozen=True):
    """What ComfyUI does to so many prompts, how often each is posted then, and how many runs there are in all."""

    control: dict[str, Any]
    prompts: int
    posts: int
    runs: int


TROUBLES = {
    "double runs": Trouble({"double_next": ["at_once", "later", "later", "at_once"]}, 6, 1, 10),
    "a lost answer": Trouble({"answer_lost_next": 1}, 1, 1, 1),
    "a POST that was not taken": Trouble({"refuse": {"/prompt": {"status": 404, "next": 1}}}, 1, 2, 1),
    "a POST that lands late": Trouble({"slow": {"/prompt": LATE_S}}, 1, 2, 2),
}


async def test_lost_answers_and_double_runs_give_one_set_of_files(side_by_side: Any) -> None:
    await side_by_side(lost_or_doubled, itertools.product(VERSIONS, TROUBLES))


async def lost_or_doubled(house: House, case: tuple[type[StandIn], str]) -> None:
    version, trouble = case[0], TROUBLES[case[1]]
    house.daemon.constants = dict.fromkeys(PROBE, 500)
    await begin(house, version, depth=3)
    comfyui = house.comfyui
    comfyui.control(**trouble.control)
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(trouble.prompts))
        await until(lambda: len(comfyui.posted()) == trouble.prompts * trouble.posts, "it is on its way")
        comfyui.control(slow={})
        (batch,) = await app.settled(asked["batch_id"])
        await until(lambda: len(comfyui.ended()) == trouble.runs, "each has run, some of them twice")
        log = await app.log()
    if trouble.runs > trouble.prompts:
        check_numbers(house, batch)
    else:
        house.check_stored(batch)
    posted = comfyui.posted()
    assert [posted.count(prompt_id) for prompt_id in dict.fromkeys(posted)] == [trouble.posts] * trouble.prompts
    uploaded = [event["data"]["name"] for event in of_kind(log, "image_uploaded")]
    assert len(uploaded) == len(set(uploaded)) == trouble.prompts
    assert set(house.stored()) == set(uploaded)
