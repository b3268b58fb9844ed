"""`fleet`: several boxes, each with a daemon and ComfyUIs of its own, that share one log in PostgreSQL."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comfyledger.cli.base import DONE, LABEL, Group, asks_daemon, json_option, refusing
from comfyledger.cli.configuration import config_option, running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import say, say_json, say_table
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.client import Client
    from comfyledger.maintenance.fleet import BoxStanding
    from comfyledger.settings import Settings


@click.group(cls=Group, name="fleet")
def fleet() -> None:
    """Share one log with other boxes, and see who takes part."""


@fleet.command()
@config_option
@json_option
@click.pass_context
def init(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Share this ledger: copy its log and texts into the database of `[ledger] shared`. No daemon may run.

    Run it once, on one box; without a ledger an empty one is made. The other boxes join. The ledger becomes a replica.
    """
    from comfyledger.maintenance import fleet as founding

    found, address = _shared(ctx, config_path)
    with refusing(), bars() as progress:
        head = founding.init(address, found.ledger_path, progress)
    if as_json:
        say_json({"position": head.position, "hash": head.hash.hex()})
        return
    say(f"The log is shared up to position {head.position}. Start the daemon; `comfyledger fleet join` on other boxes.")


@fleet.command()
@config_option
@click.option("--anew", is_flag=True, help="Move the present replica aside, and make it again from the shared log.")
@json_option
@click.pass_context
def join(ctx: click.Context, config_path: Path | None, anew: bool, as_json: bool) -> None:
    """Make this box's replica of the shared log. No daemon may run. Interrupted, it goes on where it was."""
    from comfyledger.maintenance import fleet as founding

    found, address = _shared(ctx, config_path)
    with refusing(), bars() as progress:
        aside = founding.put_aside(found.ledger_path) if anew else None
        head = founding.join(address, found.ledger_path, progress)
    if as_json:
        say_json({"position": head.position, "hash": head.hash.hex(), "aside": str(aside or "")})
        return
    if aside is not None:
        say(f"The old replica is {aside}.")
    say(f"The replica has everything up to position {head.position}. Start the daemon.")


@fleet.command()
@config_option
@json_option
@click.pass_context
def leave(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Have this box take part no more. Its daemon must be stopped; its prompts go to others at once.

    Images that only this box keeps wait for it, until `orphan_after_s` is over. It joins again when its daemon starts.
    """
    from comfyledger.maintenance import fleet as founding

    found, address = _shared(ctx, config_path)
    with refusing():
        known = founding.leave(address, found.ledger_path, found.box_name, LABEL, time.time_ns() // 1_000_000)
    if as_json:
        say_json(known)
        return
    say(f"{known.name} has left the fleet." if known.changed else f"{known.name} had left the fleet already.")


@fleet.command("give-up")
@click.argument("name")
@json_option
@asks_daemon
async def give_up(client: Client, name: str, as_json: bool) -> int:
    """Wait no more for a box that has left: the images that only it keeps are rendered again, under their numbers."""
    gone = await client.give_up_box(name)
    if as_json:
        say_json(gone)
        return DONE
    said = "given up: what only it keeps is rendered again" if gone.changed else "given up already"
    say(f"{gone.name} is {said}.")
    return DONE


@fleet.command()
@running_config_option
@json_option
@click.pass_context
def status(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Show the boxes of the fleet: who takes part, and how far each has read the log. Asks the database alone."""
    from comfyledger.maintenance import fleet as founding

    _, address = _shared(ctx, config_path)
    with refusing():
        standing = founding.standing(address)
    if as_json:
        say_json(standing)
        return
    say(f"ledger {standing.ledger_id}, epoch {standing.epoch}, position {standing.position}")
    if not standing.boxes:
        say("No box has started yet.")
        return
    rows = [(one.name, _state(one), f"{one.behind:,}", f"{one.age_s:.0f} s ago", one.url) for one in standing.boxes]
    say_table(("BOX", "STATE", "EVENTS BEHIND", "HEARD", "ADDRESS"), rows)


def _state(one: BoxStanding) -> str:
    if one.present:
        return f"term {one.term}"
    return "given up" if one.given_up else f"left ({one.reason})"


def _shared(ctx: click.Context, config_path: Path | None) -> tuple[Settings, str]:
    """The settings, and the address of the shared log."""
    from comfyledger.startup.fleet import address_of

    with refusing():
        found = settings_of(ctx, config_path)
        if not found.box_name:
            hint = "Set [ledger] shared and [box] name; docs/fleet.md shows how."
            raise Refused("config_invalid", "The configuration names no shared log.", hint=hint)
        return found, address_of(found, os.environ)
