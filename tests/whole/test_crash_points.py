"""The daemon dies at every named place, starts again, and nothing is lost, doubled or renumbered.

Each case is a daemon of its own with its own folders, killed at one place while an app has three images made; one
stand-in serves all cases of a process. The app sends its request again, and what lies in the store, in the spool and
in the log is compared with what the stand-in was asked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
from PIL import Image

from comfyledger import crash_points
from support.doomed_lives import Seen, die, last_life
from support.ledger_builders import check_tables
from support.processes import House
from support.waiting import until
from support.wire_app import SMALL, App, Frame, coloured

COLOURS = [(0, 3, 232), (0, 7, 208), (0, 11, 184)]
"""1,000, 2,000 and 3,000 as red, green and blue."""


class Case(msgspec.Struct, frozen=True):
    """Where the daemon dies, one life after the other, and what happens meanwhile."""

    places: tuple[str, ...]
    trouble: str = ""

    def __str__(self) -> str:
        return "-then-".join(self.places) + (f"-{self.trouble}" if self.trouble else "")


SPECIAL = {
    "reply.sending": Case(("reply.sending:3",)),  # the replies to `hello` and `subscribe` come first
    "reply.sent": Case(("reply.sent:3",)),
    "prompt.sought": Case(("prompt.answered", "prompt.sought")),
    "cancel.sending": Case(("cancel.sending",), "cancel"),
    "cancel.answered": Case(("cancel.answered",), "cancel"),
}
MORE = [
    *(Case((f"group.{step}:{times}",)) for times in (3, 5) for step in ("written", "committed")),
    Case(("prompt.ended",), "cancel"),
    Case(("prompt.ended",), "fail"),
    Case(("upload.logged:3",)),
]
OTHERS = ("log.", "keys.", "input.", "sources.", "move.", "backend.", "review.", "webhook.")
OF_IMAGES = [name for name in crash_points.POINTS if not name.startswith(OTHERS)]
CASES = [SPECIAL.get(name, Case((name,))) for name in OF_IMAGES] + MORE


@pytest.fixture
def house(doomed_house: House) -> House:
    return doomed_house


async def ask(app: App, house: House, seen: Seen, trouble: str) -> None:
    """Go on where the app was: the events after the last one that it has, the same request again."""
    await seen.subscribe(app)
    reply = await app.submit("r1", images=[{"inputs": {**SMALL, **image["inputs"]}} for image in coloured(3)])
    seen.replies.append(reply)
    if trouble == "cancel":
        await until(lambda: len(house.comfyui.queue()["queue_pending"]) == 2, "two prompts wait")
        await app.ask("cancel", batch_id=reply["batch_id"], images=[3])


async def ask_at_last(app: App, house: House, seen: Seen, trouble: str) -> None:
    """In the life that lasts."""
    await ask(app, house, seen, "")
    if trouble == "cancel":
        await until(lambda: len(house.comfyui.queue()["queue_pending"]) == 1, "the prompt is taken out")
        house.comfyui.control(hold=[])


def files_of(house: House) -> dict[str, tuple[int, int]]:
    """The images in the store with what changes when one is written again."""
    found = {name: path.stat() for name, path in house.stored().items() if not path.name.startswith(".")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def check_pictures(house: House, names: list[str]) -> None:
    """One file for each number, in the colour that was asked for under it, and nothing else."""
    files = house.stored()
    assert sorted(files) == sorted(names)
    for name, colour in zip(names, COLOURS, strict=False):
        with Image.open(files[name]) as image:
            counted: Any = image.convert("RGB").getcolors(64 * 64)
        assert max(counted)[1] == colour, name


def check_standin(house: House, since: int, runs: int, trouble: str) -> None:
    """No prompt was posted twice, and none ran again that was not seen to fail."""
    asked = house.comfyui.requests()[since:]
    posted = [one["prompt_id"] for one in asked if (one["method"], one["path"]) == ("POST", "/prompt")]
    assert len(posted) == len(set(posted)) == 3 + (trouble == "fail")
    ended = [one["outcome"] for one in house.comfyui.ledger()["prompts"] if one["prompt_id"] in posted]
    assert ended.count("execution_success") == runs
    assert ended.count("execution_error") == (trouble == "fail")


def check_house(house: House, seen: Seen, batch: Frame, kept: int) -> None:
    """Store, spool, log and what the app was told agree."""
    names = seen.replies[0]["public_ids"]
    assert seen.replies[0]["numbers"] == [1, 2, 3]
    assert [image["state"] for image in batch["images"]] == ["stored"] * kept + ["cancelled"] * (3 - kept)
    check_pictures(house, names[:kept])
    spooled = [path.name for path in (house.state / "spool").glob("*/*")]
    assert sorted(spooled) == [f"{number}.png" for number in range(1, kept + 1)]
    lines = check_tables(house.state / "ledger.db")
    told = [(event["position"], event["kind"]) for event in seen.events]
    assert told == [(line.position, line.kind) for line in lines]
    assert house.daemon.errors() == []


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_daemon_that_dies_there_goes_on_as_if_nothing_had_been(house: House, case: Case) -> None:
    house.comfyui.control(hold=["in_node"] if case.trouble == "cancel" else [], fail_next=int(case.trouble == "fail"))
    seen, since = Seen(), len(house.comfyui.requests())
    for place in case.places:
        await die(house, place, seen, partial(ask, house=house, seen=seen, trouble=case.trouble))
    before = files_of(house)
    batch = await last_life(house, seen, partial(ask_at_last, house=house, seen=seen, trouble=case.trouble))
    kept = 2 if case.trouble == "cancel" else 3
    seen.check_replies()
    check_house(house, seen, batch, kept)
    check_standin(house, since, kept, case.trouble)
    assert before.items() <= files_of(house).items(), "a stored file was written again"
