"""The soak with several stand-ins, between which prompts move: the house, the faults that only it has, and what must be
true at its end.

Each fault of the soak strikes one stand-in, and each in turn. What they ran and wrote is taken from their own ledgers
and folders, those of before a kill and of folders that were emptied as well.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from comfyledger.core.events import Event, ImageKept, PromptMoved, StrayEnded
from comfyledger.ledger.eventlog import decode
from support.command_line import command
from support.fleet import Fleet
from support.ledger_builders import log_of
from support.processes import PNG_END
from support.row_checks import attempts_of
from support.waiting import until
from support.wire_app import Frame
from whole.soak_faults import Fault, Run, ask, hung

MOVE_AFTER_S = 2.0


class SoakFleet(Fleet):
    """`comfyui` is the stand-in that the present fault strikes."""

    def __init__(self, folder: Path, count: int, seconds_per_image: float) -> None:
        super().__init__(folder, [f"gpu{number}" for number in range(1, count + 1)], seconds_per_image)
        self.emptied: list[Path] = []
        """Where the output folders are that were taken away from stand-ins."""

    def strike_next(self) -> None:
        every = self.every_standin
        self.comfyui = every[(every.index(self.comfyui) + 1) % len(every)]

    def folders_of(self, batch_id: str) -> list[Path]:
        roots = [*(one.output for one in self.every_standin), *self.emptied]
        return [folder for root in roots if (folder := root / "comfyledger" / batch_id.lower()).exists()]

    def rendered(self, batch_id: str) -> dict[str, bytes]:
        """Of all stand-ins. An attempt that was sent again to one with an emptied folder may have written twice there:
        the same pixels, as only one seed and one name made them.
        """
        found: dict[str, bytes] = {}
        for folder in self.folders_of(batch_id):
            for path in folder.iterdir():
                if path.read_bytes().endswith(PNG_END):
                    pixels = self.drawn(path)
                    assert found.setdefault(path.name, pixels) == pixels, f"two files are called {path.name}"
        return found


def fleet_of(run: Run) -> SoakFleet:
    assert isinstance(run.house, SoakFleet)
    return run.house


# ---- faults


async def lose_comfyui_until_its_prompts_moved(run: Run) -> None:
    run.remember()
    await run.house.comfyui.restart(away_s=run.random.uniform(1.5, 4.0) * MOVE_AFTER_S * run.pace)


async def hang_comfyui_until_its_prompts_moved(run: Run) -> None:
    """It goes on with what it had, which others may have rendered meanwhile."""
    await hung(run, 2.0 * MOVE_AFTER_S, 4.0 * MOVE_AFTER_S)


async def lose_comfyui_with_its_files(run: Run) -> None:
    """What it wrote is gone when it is back."""
    run.remember()
    house, standin = fleet_of(run), run.house.comfyui
    standin.kill()
    house.emptied.append(standin.output.with_name(f"{standin.output.name}-{len(house.emptied)}"))
    standin.output.rename(house.emptied[-1])
    standin.output.mkdir()
    await run.lasts(0.0, 3.0 * MOVE_AFTER_S)
    await standin.begin()


async def lose_an_answer_and_go_away(run: Run) -> None:
    """What was sent last runs there, and nobody was told that it was taken."""
    run.house.comfyui.control(answer_lost_next=1)
    await run.lasts(0.0, 2.0)
    await lose_comfyui_until_its_prompts_moved(run)


async def lose_all_but_one(run: Run) -> None:
    """They are killed at once, and come back one after the other."""
    others = [one for one in run.house.every_standin if one is not run.house.comfyui]
    for one in others:
        run.remember(one)
    await asyncio.gather(*(one.restart(place * MOVE_AFTER_S * run.pace) for place, one in enumerate(others, 1)))


async def move_by_hand(run: Run) -> None:
    scope = f"backend:{run.house.backend}"
    await ask(run, "app-0", "move", scope=scope)
    await run.lasts(0.0, 3.0)
    await ask(run, "app-0", "resume", scope=scope)


async def kill_both(run: Run) -> None:
    """The daemon and a stand-in, whose prompts the next life finds away."""
    run.remember()
    run.house.daemon.signal(signal.SIGKILL)
    await asyncio.gather(
        run.house.comfyui.restart(run.random.uniform(0.0, 3.0) * MOVE_AFTER_S * run.pace), run.house.daemon.begin()
    )


MOVES: tuple[Fault, ...] = (
    lose_comfyui_until_its_prompts_moved,
    hang_comfyui_until_its_prompts_moved,
    lose_comfyui_with_its_files,
    lose_an_answer_and_go_away,
    lose_all_but_one,
    move_by_hand,
    kill_both,
)


# ---- what must be true


def events_of(run: Run) -> list[Event]:
    return [decode(line.kind, line.schema, line.data) for line in log_of(run.house.state / "ledger.db")]


async def check_strays_end(run: Run) -> None:
    """What was left behind comes to an end once all stand-ins answer, and the ledger is whole then."""

    def ended() -> bool:
        return not any(attempts.strays for attempts in attempts_of(events_of(run)).values())

    await until(ended, "no stray is left")
    assert (await command(run.house, "audit", "--deep"))["findings"] == []


def check_attempts(run: Run, ended: dict[str, Frame]) -> None:
    """No two attempts of a prompt were live, each was sent to one stand-in, and each image is a file that the attempt
    wrote which its event names.
    """
    fleet = fleet_of(run)
    events = events_of(run)
    assert not any(attempts.strays for attempts in attempts_of(events).values()), "a stray is left"
    sent = [(prompt_id, name) for name, one in fleet.standins.items() for prompt_id in set(one.posted())]
    assert len(sent) == len({prompt_id for prompt_id, _ in sent}), "an attempt was sent to two"
    kept = {(event.batch_id, event.image): event for event in events if isinstance(event, ImageKept)}
    for batch in ended.values():
        check_files(fleet, batch, kept)
    moved = [event.reason for event in events if isinstance(event, PromptMoved)]
    strays = [event.outcome for event in events if isinstance(event, StrayEnded)]
    run.counts.update(f"prompts moved: {reason}" for reason in moved)
    run.counts.update(f"strays: {outcome}" for outcome in strays)


def check_files(fleet: SoakFleet, batch: Frame, kept: dict[tuple[str, int], ImageKept]) -> None:
    images = [image for image in batch["images"] if image["state"] != "cancelled"]
    if not images:
        return
    files, stored = fleet.rendered(batch["batch_id"]), fleet.stored()
    first: dict[int, int] = {}
    for image in batch["images"]:
        first.setdefault(image["prompt"], image["number"])
    for image in images:
        event = kept[batch["batch_id"], image["index"]]
        start = f"{first[image['prompt']]}-a{event.attempt}_"
        mine = {pixels for name, pixels in files.items() if name.startswith(start)}
        assert fleet.drawn(stored[image["public_id"]]) in mine, f"not of attempt {event.attempt}: {image['public_id']}"
