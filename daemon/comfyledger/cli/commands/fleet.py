"""`fleet`: several boxes, each with a daemon and ComfyUIs of its own, that share one log in PostgreSQL."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from comfyledger.cli.base import DONE, LABEL, Group, asks_daemon, json_option, refusing
from comfyledger.cli.configuration import config_option, running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import say, say_json, say_table
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.client import Client
    from comfyledger.maintenance.fleet import BoxStanding, Standing
    from comfyledger.settings import Settings


KEY_CHARS_MAX: Final = 1_000


@click.group(cls=Group, name="fleet")
def fleet() -> None:
    """Share one log with other boxes, and see who takes part."""


@fleet.command()
@config_option
@click.option(
    "--owner",
    default="",
    metavar="ADDRESS",
    help="The same database for a role that will own the tables: an address, or where it is, as in `[ledger] shared`."
    " The role of the boxes then can append to the log, and not change it.",
)
@json_option
@click.pass_context
def init(ctx: click.Context, config_path: Path | None, owner: str, as_json: bool) -> None:
    """Share this ledger: copy its log and texts into the database of `[ledger] shared`. No daemon may run.

    Run it once, on one box; without a ledger an empty one is made. The other boxes join. The ledger becomes a replica.
    """
    from comfyledger.maintenance import fleet as founding
    from comfyledger.settings import is_source, read_secret

    found, address = _shared(ctx, config_path)
    with _reaching(), bars() as progress:
        as_owner = read_secret(owner, os.environ) if is_source(owner) else owner
        now_ms = time.time_ns() // 1_000_000
        head = founding.init(address, found.ledger_path, progress, found.box_name, now_ms, as_owner)
    if as_json:
        say_json({"position": head.position, "hash": head.hash.hex()})
        return
    say(f"The log is shared up to position {head.position}. Start the daemon; `comfyledger fleet join` on other boxes.")


@fleet.command()
@config_option
@click.option("--anew", is_flag=True, help="Move the present replica aside, and make it again from the shared log.")
@click.option(
    "--key-file",
    type=click.Path(allow_dash=True, dir_okay=False),
    help="A file with what `fleet key` prints on another box; - is standard input.",
)
@json_option
@click.pass_context
def join(ctx: click.Context, config_path: Path | None, anew: bool, key_file: str | None, as_json: bool) -> None:
    """Make this box's replica of the shared log. No daemon may run. Interrupted, it goes on where it was.

    The first time a box needs the key that another box prints: `comfyledger fleet key`.
    """
    from comfyledger.maintenance import fleet as founding

    found, address = _shared(ctx, config_path)
    with _reaching(), bars() as progress:
        aside = founding.put_aside(found.ledger_path) if anew else None
        carried = _carried(key_file) if key_file is not None else None
        head = founding.join(address, found.ledger_path, progress, found.box_name, carried)
    if as_json:
        say_json({"position": head.position, "hash": head.hash.hex(), "aside": str(aside or "")})
        return
    if aside is not None:
        say(f"The old replica is {aside}.")
    say(f"The replica has everything up to position {head.position}. Start the daemon.")


def _carried(key_file: str) -> tuple[int, bytes]:
    """Raises Refused for a file without a key, OSError."""
    from comfyledger.ledger.shared.key_file import read_carried

    try:
        with click.open_file(key_file) as file:
            return read_carried(file.read(KEY_CHARS_MAX))
    except ValueError as error:
        hint = "Run `comfyledger fleet key` on another box, and bring its whole line here."
        raise Refused("invalid_field", f"{key_file} has no key of a fleet.", hint=hint) from error


@fleet.command()
@config_option
@click.pass_context
def key(ctx: click.Context, config_path: Path | None) -> None:
    """Print the key that another box needs to join. Who has it can read the texts in the database and in its backups.

    It does not ask the database. Remove the file in which you carried it.
    """
    from comfyledger.ledger.shared.key_file import carried
    from comfyledger.ledger.shared.keys import Keys

    found, _ = _shared(ctx, config_path)
    with _reaching():
        say(carried(*Keys.beside(found.ledger_path).oldest_key()), whole=True)


@fleet.command()
@config_option
@click.pass_context
def rotate(ctx: click.Context, config_path: Path | None) -> None:
    """Have the running daemons make the next key for texts now, and destroy the present one.

    That happens by itself an hour after something was forgotten. `comfyledger fleet status` shows when it is done.
    """
    from comfyledger.ledger.shared.rotation import want_next

    _, address = _shared(ctx, config_path)
    with _reaching():
        generation = want_next(address)
    say(f"Key {generation} will be replaced. `comfyledger fleet status` shows when all boxes have destroyed it.")


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
    with _reaching():
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
    with _reaching():
        standing = founding.standing(address)
    if as_json:
        say_json(standing)
        return
    say(f"ledger {standing.ledger_id}, epoch {standing.epoch}, position {standing.position}, key {standing.key}")
    if standing.forgetting:
        say(_forgetting(standing))
    if not standing.boxes:
        say("No box has started yet.")
        return
    rows = [
        (one.name, _state(one), str(one.key or "-"), f"{one.behind:,}", _heard(one), one.url or "-")
        for one in standing.boxes
    ]
    say_table(("BOX", "STATE", "KEY", "EVENTS BEHIND", "HEARD", "ADDRESS"), rows)


def _forgetting(standing: Standing) -> str:
    if standing.old_keys:
        named = ", ".join(standing.old_keys)
        return f"Old copies of the database can still be read with older keys, which these boxes have: {named}."
    return f"Something was forgotten. Key {standing.key} will be replaced within an hour, or by `fleet rotate`."


def _heard(one: BoxStanding) -> str:
    """A box that was never heard has no address and no age."""
    return f"{one.age_s:.0f} s ago" if one.url or one.age_s else "never"


def _state(one: BoxStanding) -> str:
    if one.present:
        return f"term {one.term}"
    return "given up" if one.given_up else f"left ({one.reason})"


@contextmanager
def _reaching() -> Iterator[None]:
    """As `refusing`; a database that is away becomes a refusal too."""
    from comfyledger.ledger.ports import LogUnreachable

    with refusing():
        try:
            yield
        except LogUnreachable as error:
            hint = "Start the database, or correct [ledger] shared."
            raise Refused("log_unreachable", str(error), hint=hint) from error


def _shared(ctx: click.Context, config_path: Path | None) -> tuple[Settings, str]:
    """The settings, and the address of the shared log."""
    from comfyledger.startup.fleet import address_of

    with refusing():
        found = settings_of(ctx, config_path)
        if not found.box_name:
            hint = "Name its file with --config, and set [ledger] shared and [box] name there; docs/fleet.md shows how."
            raise Refused("config_invalid", "The configuration names no shared log.", hint=hint)
        return found, address_of(found, os.environ)
