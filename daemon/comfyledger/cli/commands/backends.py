"""`backends`, `drain`, `move`: what each ComfyUI does, and stopping one without losing what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, json_option
from comfyledger.cli.ui.terminal import duration, say, say_aside, say_json, say_table, several
from comfyledger.client import Client
from comfyledger.core.scheduling.demand import ANY
from comfyledger.errors import Refused

LOOK_EVERY_S: Final = 1.0
_HEADS: Final = ("COMFYUI", "STATE", "VERSION", "FITS", "RUNNING", "WAITING", "DONE", "IMAGES/H")
_UNKNOWN: Final = "?"
_NONE: Final = "-"


@click.command()
@click.argument("name", required=False)
@json_option
@asks_daemon
async def backends(client: Client, name: str | None, as_json: bool) -> int:
    """List the ComfyUIs: state, version, prompts there, and what each has done.

    With NAME: that one in detail, with the configured workflows that it can run, and what it lacks for the others.

    FITS: how many of the configured workflows it can run. DONE and IMAGES/H count since the daemon's start; IMAGES/H
    counts the last hour. WARM MODELS are those of the last prompt that was sent there. Below is what waits here for a
    ComfyUI, and how many ComfyUIs would finish it in time.
    """
    info = await client.server_info(fits=True)
    if name is not None:
        one = _called(name, info.backends)
        say_json(one) if as_json else _say_one(one)
        return DONE
    if as_json:
        say_json({"backends": info.backends, "demand": info.demand})
        return DONE
    say_table(_HEADS, map(_row, info.backends))
    for one in info.backends:
        if one.problem:
            say(f"{one.name}: {one.problem} ({one.url})", "yellow")
    say_left(info.backends)
    _say_models(info.backends)
    _say_demand(info.demand or [])
    return DONE


def say_left(found: list[wire.BackendInfo]) -> None:
    """Say which prompts wait for ComfyUIs that do not work, and which were left behind."""
    for one in found:
        work = one.work or wire.BackendWork(0)
        there = work.running + work.waiting + work.fetching
        if one.problem and there and len(found) > 1:
            when = f"after {one.move_after_s:g} s of that" if one.move_after_s else _move(one.name)
            say(f"{one.name}: {several(there, 'prompt')} there or on the way; {when} others get what they may take")
        if work.strays:
            say(f"{one.name}: {several(work.strays, 'prompt')} left behind there, which others got")


def _move(name: str) -> str:
    return f"with `comfyledger move backend:{name}`"


def _say_models(found: list[wire.BackendInfo]) -> None:
    """What each has loaded, where there is something to tell."""
    rows = [(one.name, _words(one.tags), _words(one.warm)) for one in found if one.tags or one.warm]
    if rows:
        say("")
        say_table(("COMFYUI", "TAGS", "WARM MODELS"), rows)


def _words(words: list[str] | None) -> str:
    return _UNKNOWN if words is None else ", ".join(words) or _NONE


def _say_one(one: wire.BackendInfo) -> None:
    """One ComfyUI in detail."""
    say_table((one.name, ""), _facts(one))
    if one.lacks:
        say("")
        say_table(("DOES NOT FIT", "WHY"), sorted(one.lacks.items()))


def _facts(one: wire.BackendInfo) -> Iterator[tuple[str, str]]:
    nodes = "" if one.node_classes is None else f", {one.node_classes:,} node classes"
    yield "url", one.url
    yield "state", f"{one.state}: {one.problem}" if one.problem else one.state
    yield "version", f"{one.version or _UNKNOWN}{nodes}"
    yield "tags", _words(one.tags)
    yield "warm models", _words(one.warm)
    if one.work is not None:
        work = one.work
        there = [f"{work.running} running", f"{work.waiting} waiting", f"{work.fetching} to fetch"]
        there += [f"{work.strays} left behind"] if work.strays else []
        yield "prompts there", f"{', '.join(there)}; {several(work.places, 'place')}"
        ended = ", ".join(f"{count:,} {outcome}" for outcome, count in work.ended.items() if count)
        yield "ended", f"{ended or _NONE} since the daemon's start"
        yield "images", f"{work.images_per_hour:,.0f} an hour"
    yield "fits", _words(one.fits)


def _say_demand(demand: list[wire.DemandInfo]) -> None:
    """What waits, if anything does."""
    lines = [_demanded(work) for work in demand if work.queued]
    for line in ["", *lines] if lines else []:
        say(line)


def _demanded(work: wire.DemandInfo) -> str:
    """A line about what waits."""
    who = "" if work.needs == ANY else f" for {work.needs}"
    waits = "waits" if work.queued == 1 else "wait"
    took = "of unknown length" if work.queued_s is None else f"about {duration(work.queued_s)} of work"
    return f"{several(work.queued, 'prompt')} {waits}{who}: {took}, {several(work.backends_wanted, 'ComfyUI')} wanted."


def _row(one: wire.BackendInfo) -> tuple[str, ...]:
    fits = _UNKNOWN if one.fits is None else f"{len(one.fits)}/{len(one.fits) + len(one.lacks or ())}"
    return (one.name, one.state, one.version or _UNKNOWN, fits, *_work(one.work))


def _work(work: wire.BackendWork | None) -> tuple[str, ...]:
    if work is None:
        return (_UNKNOWN,) * 4
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
    name = _name_in(scope)
    await client.pause(scope)
    one = await _drained(client, name, as_json) if wait else await _backend(client, name)
    if as_json:
        say_json(one)
    elif one.state == "draining":
        say(f"{name} gets no new prompt. It still has {_left(one)}; `comfyledger drain {scope} --wait` waits for that.")
    else:
        say(f"{name} is paused and has nothing of ours. `comfyledger resume {scope}` gives it work again.")
    return DONE


@click.command()
@click.argument("scope")
@click.option("--wait", is_flag=True, help="Wait until it has nothing of ours, also of what was moved.")
@json_option
@asks_daemon
async def move(client: Client, scope: str, wait: bool, as_json: bool) -> int:
    """Pause a ComfyUI, and give the prompts that it has to others.

    SCOPE: backend:NAME. What it is rendering is cancelled there, and rendered again elsewhere. If it does not answer,
    that is done when it does. Ctrl-C leaves it paused; `resume backend:NAME` gives it work again.
    """
    name = _name_in(scope)
    moved = await client.move(scope)
    if as_json:
        say_json(moved)
    else:
        stays = sum(moved.stays.values())
        say(f"{several(moved.moved, 'prompt')} moved away from {name}" + (f", {stays} still there." if stays else "."))
        say(moved.hint)
    if wait:
        await _drained(client, name, as_json)
    return DONE


def _name_in(scope: str) -> str:
    kind, _, name = scope.partition(":")
    if kind != "backend":
        raise click.BadParameter(f"{scope!r} is no backend:NAME.", param_hint="SCOPE")
    return name


async def _drained(client: Client, name: str, as_json: bool) -> wire.BackendInfo:
    """Waits until it has nothing of ours, and says what is left whenever that changes."""
    try:
        return await _emptied(client, name, as_json)
    except asyncio.CancelledError:
        say_aside(f"{name} stays paused. `comfyledger resume backend:{name}` gives it work again.")
        raise


async def _emptied(client: Client, name: str, as_json: bool) -> wire.BackendInfo:
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
    return _called(name, (await client.server_info()).backends)


def _called(name: str, found: list[wire.BackendInfo]) -> wire.BackendInfo:
    for one in found:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in found)
    raise Refused("unknown_scope", f"There is no ComfyUI {name[:64]!r}.", hint=f"Known: {known}.")


def _left(one: wire.BackendInfo) -> str:
    work = one.work
    if work is None:
        return "prompts of ours"
    counts = {
        "running": work.running,
        "waiting": work.waiting,
        "finished with files to fetch": work.fetching,
        "left behind there": work.strays,
    }
    return ", ".join(f"{several(count, 'prompt')} {what}" for what, count in counts.items() if count)
