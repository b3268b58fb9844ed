"""`backend`: ComfyUIs that are added and removed while the daemon runs."""

from __future__ import annotations

import click

from comfyledger.cli.base import DONE, Group, asks_daemon, json_option
from comfyledger.cli.ui.terminal import say, say_json, several
from comfyledger.client import Client


@click.group(cls=Group, name="backend")
def backend() -> None:
    """Add a ComfyUI to the running daemon, or remove one that was added."""


@backend.command()
@click.argument("name")
@click.argument("url")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="What it can do; may be repeated.")
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(0, 604_800),
    default=0,
    help="Seconds until it is removed, unless it is added again. Default: it stays.",
)
@click.option(
    "--queue-depth",
    type=click.IntRange(0, 64),
    default=0,
    help="Our prompts in its queue. Default: the daemon decides.",
)
@json_option
@asks_daemon
async def add(
    client: Client, name: str, url: str, tags: tuple[str, ...], ttl_s: int, queue_depth: int, as_json: bool
) -> int:
    """Use the ComfyUI at URL as NAME. `[backends] allowed` of the configuration must describe URL.

    With --ttl, run the command again before the time is over. The same command again changes nothing else.
    """
    added = await client.add_backend(name, url, tags=tags, ttl_s=ttl_s, queue_depth=queue_depth)
    if as_json:
        say_json(added)
        return DONE
    stays = f" for {added.ttl_s} s; add it again to keep it" if added.ttl_s else ""
    say(f"{added.name} at {added.url} is {'used' if added.changed else 'kept'}{stays}.", whole=True)
    return DONE


@backend.command()
@click.argument("name")
@click.option("--move", is_flag=True, help="Let its prompts go to other ComfyUIs.")
@json_option
@asks_daemon
async def remove(client: Client, name: str, move: bool, as_json: bool) -> int:
    """Use NAME no more. While it has prompts, this is refused without --move."""
    gone = await client.remove_backend(name, move=move)
    if as_json:
        say_json(gone)
        return DONE
    had = several(gone.prompts or 0, "prompt")
    goes = f" It had {had}: others get what they may take, the rest waits." if gone.prompts else ""
    say(f"{name} is used no more.{goes}")
    return DONE
