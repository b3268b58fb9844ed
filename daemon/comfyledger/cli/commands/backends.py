"""`backends`, `drain`: what each ComfyUI does, and stopping one without losing what it renders."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, json_option
from comfyledger.cli.ui.terminal import say, say_aside, say_json, say_table, several
from comfyledger.client import Client
from comfyledger.errors import Refused

LOOK_EVERY_S: Final = 1.0
_HEADS: Final = ("COMFYUI", "STATE", "VERSION", "NODES", "RUNNING", "WAITING", "DONE", "IMAGES/H")


@click.command()
@json_option
@asks_daemon
async def backends(client: Client, as_json: bool) -> int:
    """List the ComfyUIs: state, version, prompts there, and what each has done.

    DONE and IMAGES/H count since the daemon's start; IMAGES/H counts the last hour.
    """
    found = (await client.server_info()).backends
    if as_json:
        say_json({"backends": found})
        return DONE
    say_table(_HEADS, map(_row, found))
    for one in found:
        if one.problem:
            say(f"{one.name}: {one.problem} ({one.url})", "yellow")
    return DONE


def _row(one: wire.BackendInfo) -> tuple[str, ...]:
    nodes = "?" if one.node_classes is None else str(one.node_classes)
    return (one.name, one.state, one.version or "?", nodes, *_work(one.work))


def _work(work: wire.BackendWork | None) -> tuple[str, ...]:
    if work is None:
        return ("?",) * 4
    return (
        str(work.running),
        str(work.waiting),
        f"{work.ended.get('finished', 0):,}",
        f"{work.images_per_hour:,.0f}",
    )


@click.command()
@click.argument("scope")
@click.option("--wait", is_flag=True, help="Wait until it has nothing of ours.")
@json_option
@asks_daemon
async def drain(client: Client, scope: str, wait: bool, as_json: bool) -> int:
    """Pause a ComfyUI, and show what it still has.

    SCOPE: backend:NAME. It gets no new prompt. What it has already runs to its end and its files are fetched. Ctrl-C
    leaves it paused; `resume backend:NAME` gives it work again.
    """
    kind, _, name = scope.partition(":")
    if kind != "backend":
        raise click.BadParameter(f"{scope!r} is no backend:NAME.", param_hint="SCOPE")
    await client.pause(scope)
    try:
        one = await _drained(client, name, as_json) if wait else await _backend(client, name)
    except asyncio.CancelledError:
        say_aside(f"{name} stays paused. `comfyledger resume {scope}` gives it work again.")
        raise
    if as_json:
        say_json(one)
    elif one.state == "draining":
        say(f"{name} gets no new prompt. It still has {_left(one)}; `comfyledger drain {scope} --wait` waits for that.")
    else:
        say(f"{name} is paused and has nothing of ours. `comfyledger resume {scope}` gives it work again.")
    return DONE


async def _drained(client: Client, name: str, as_json: bool) -> wire.BackendInfo:
    """Waits until it has nothing of ours, and says what is left whenever that changes."""
    said = ""
    while True:
        one = await _backend(client, name)
        left = _left(one) if one.state == "draining" else ""
        if not left:
            return one
        line = f"{name} still has {left}." + (f" {one.problem}" if one.problem else "")
        if line != said and not as_json:
            say_aside(line)
        said = line
        await asyncio.sleep(LOOK_EVERY_S)


async def _backend(client: Client, name: str) -> wire.BackendInfo:
    found = (await client.server_info()).backends
    for one in found:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in found)
    raise Refused("unknown_scope", f"There is no [comfyui.{name}] any more.", hint=f"Known: {known}.")


def _left(one: wire.BackendInfo) -> str:
    work = one.work
    if work is None:
        return "prompts of ours"
    counts = {"running": work.running, "waiting": work.waiting, "finished with files to fetch": work.fetching}
    return ", ".join(f"{several(count, 'prompt')} {what}" for what, count in counts.items() if count)
