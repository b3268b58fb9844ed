"""The daemon dies where it works for one of two ComfyUIs, and that one is away when it starts again: the prompts move.

Whatever the first life had done there, nothing is lost, stored twice or mixed, and no stray is left once it is back.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial

import pytest

from comfyledger import crash_points
from comfyledger.core.events import Event, ImageKept, PromptMoved, PromptSubmitting
from comfyledger.ledger.eventlog import decode
from support.doomed_lives import Seen, die, last_life
from support.fleet import Fleet
from support.ledger_builders import check_tables, log_of, rows_in
from support.row_checks import attempts_of, check_attempts
from support.waiting import until
from support.wire_app import App, coloured

IMAGES = 4
OF_COMFYUI = ("prompt.", "cancel.", "fetch.")
"""Those of the spool lie between `fetch.asked` and `fetch.whole`."""
PLACES = [name for name in crash_points.POINTS if name.startswith(OF_COMFYUI)]
FIRST = {"prompt.sought": ["prompt.answered"]}
"""Where the daemon dies in the life before."""


async def ask(app: App, fleet: Fleet, seen: Seen, place: str = "") -> None:
    """Go on where the app was. A stray is to be cancelled: `a` stands still while its prompts move."""
    await seen.subscribe(app)
    seen.replies.append(await app.submit("r1", images=coloured(IMAGES)))
    if not place.startswith("cancel."):
        return
    a = fleet.standins["a"]
    await until(lambda: has(app, "prompt_accepted", 3), "both have something")
    os.kill(a.pid, signal.SIGSTOP)
    try:
        await until(lambda: has(app, "prompt_moved", 1), "a prompt moves")
    finally:
        os.kill(a.pid, signal.SIGCONT)


def has(app: App, kind: str, count: int) -> bool:
    return sum(event["kind"] == kind for event in app.events) >= count


@pytest.mark.parametrize("place", PLACES)
async def test_what_a_daemon_left_where_it_died_is_rendered_elsewhere_and_stored_once(fleet: Fleet, place: str) -> None:
    fleet.keys = "move_after_s = 0.3\nrequest_timeout_s = 1"
    a = fleet.standins["a"]
    for one in fleet.standins.values():
        await one.begin()
    fleet.configure_for(fleet.standins)
    a.control(hold=["in_node"] if place.startswith("cancel.") else [])
    seen = Seen()
    for each in (*FIRST.get(place, ()), place):
        await die(fleet, each, seen, partial(ask, fleet=fleet, seen=seen, place=place))
    left = left_at(fleet, "a")
    a.kill()
    batch = await last_life(fleet, seen, partial(ask, fleet=fleet, seen=seen))
    await a.begin()
    await until(lambda: not strays_of(fleet), "no stray is left")
    seen.check_replies()
    fleet.check_stored(batch)
    check_once(fleet)
    check_sent(fleet)
    moved = {event.prompt for event in events_of(fleet) if isinstance(event, PromptMoved)}
    assert left <= moved, "what a had stayed with it"


def strays_of(fleet: Fleet) -> list[int]:
    return [attempt for attempts in attempts_of(events_of(fleet)).values() for attempt in attempts.strays]


def left_at(fleet: Fleet, backend: str) -> set[int]:
    """The prompts that were sent there and gave no image yet."""
    events = events_of(fleet)
    sent = {event.prompt: event.backend for event in events if isinstance(event, PromptSubmitting)}
    kept = {event.prompt for event in events if isinstance(event, ImageKept)}
    return {prompt for prompt, name in sent.items() if name == backend} - kept


def events_of(fleet: Fleet) -> list[Event]:
    return [decode(line.kind, line.schema, line.data) for line in log_of(fleet.state / "ledger.db")]


def check_once(fleet: Fleet) -> None:
    """Each image was kept and stored once, by the log and in the store; no two attempts of a prompt were live."""
    path = fleet.state / "ledger.db"
    kinds = Counter(line.kind for line in check_tables(path))
    assert kinds["image_kept"] == kinds["image_uploaded"] == len(fleet.stored()) == IMAGES
    check_attempts(events_of(fleet), rows_in(path).values())
    assert fleet.daemon.errors() == []


def check_sent(fleet: Fleet) -> None:
    """No attempt was sent twice, be it to one or to both."""
    posted = Counter(prompt_id for one in fleet.every_standin for prompt_id in one.posted())
    assert set(posted.values()) == {1}
