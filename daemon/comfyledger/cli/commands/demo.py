"""`demo`: the main job once, end to end, on this machine, with processes and real websockets.

Four clients ask for batches at the same time, one of them for a video. The files are shown and compared with what was
promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
from rich.text import Text
from rich.tree import Tree

from comfyledger import wire
from comfyledger.cli.base import DONE, REFUSED
from comfyledger.cli.commands.log import event_line, read_past
from comfyledger.cli.demo_backends import StandIns, shares
from comfyledger.cli.demo_bucket import OBJECT, save_object, start_bucket
from comfyledger.cli.demo_fleet import Fleet, names_of
from comfyledger.cli.demo_postgres import Database
from comfyledger.cli.demo_processes import DemoFailed, Processes, quoted
from comfyledger.cli.demo_proof import BATCHES, CHARACTER, STORE_MARK, VIDEO_WORKFLOW, WORKFLOW, Asked, faults
from comfyledger.cli.ui.progress_view import Screen, follow, screen
from comfyledger.cli.ui.terminal import clean, console, say, say_aside
from comfyledger.client import Client
from comfyledger.errors import Refused

DEADLINE_S: Final = 120.0
DOWNLOAD_S: Final = 30.0
COMFYUI_TRIES: Final = 50
COMFYUI_PAUSE_S: Final = 0.2
LOG_LINES: Final = 12
BACKENDS_MAX: Final = 8
BOXES_MAX: Final = 8
FLEET_DEADLINE_S: Final = 180.0
"""A box is known to have died after twenty seconds of silence."""

Given = tuple[Asked, wire.BatchAccepted]


@click.command()
@click.option("--comfyui", help="The URL of a real ComfyUI. Default: a stand-in.")
@click.option(
    "--store",
    type=click.Choice(["folder", "cloudinary", "s3"]),
    default="folder",
    show_default=True,
    help="Where images go: a folder, or a stand-in for Cloudinary or S3.",
)
@click.option(
    "--backends",
    type=click.IntRange(1, BACKENDS_MAX),
    default=1,
    show_default=True,
    help="How many stand-ins share the work. The last of several is killed in the middle and started again.",
)
@click.option(
    "--boxes",
    type=click.IntRange(1, BOXES_MAX),
    default=1,
    show_default=True,
    help="How many daemons, each with a stand-in, share a log in PostgreSQL. The last one is killed in the middle.",
)
@click.option("--keep", is_flag=True, help="Leave the daemon and the stand-in running, and keep the files.")
@click.option("--seconds-per-image", type=float, default=0.3, show_default=True, help="How long the stand-in renders.")
@click.pass_context
def demo(
    ctx: click.Context,
    comfyui: str | None,
    store: str,
    backends: int,
    boxes: int,
    keep: bool,
    seconds_per_image: float,
) -> None:
    """Render four batches at the same time, one of them a video, and check every number and file."""
    if boxes > 1 and (comfyui is not None or backends > 1 or store != "folder"):
        raise click.UsageError("--boxes starts a stand-in for each, and uses a folder; omit the other options.")
    if comfyui is not None and backends > 1:
        raise click.UsageError("--backends counts stand-ins; omit --comfyui.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="comfyledger-demo-"))
    processes = Processes(folder)
    standins = StandIns(processes, seconds_per_image)
    well = kept = ended = False
    try:
        with _failures_reported(processes):
            if boxes > 1:
                well = _fleet(processes, standins, boxes)
            else:
                if comfyui is None:
                    standins.begin(backends)
                _start(processes, standins.urls or {"main": str(comfyui)}, store)
                well = asyncio.run(_main_job(folder, standins if backends > 1 else None))
        kept, ended = keep and bool(processes.ids), True
    finally:
        if not kept:
            processes.stop()
        if not ended:
            processes.remove()
            say_aside("The demo was interrupted; its files are removed.")
    if kept:
        _say_kept(processes, folder / f"box-{names_of(boxes)[0]}" if boxes > 1 else folder / "state")
    elif well:
        processes.remove()
    else:
        say(f"All files are still in {' and '.join(map(str, processes.folders))}")
    ctx.exit(DONE if well else REFUSED)


@contextlib.contextmanager
def _failures_reported(processes: Processes) -> Iterator[None]:
    """Print what failed, and the last lines of the processes."""
    try:
        yield
    except* (DemoFailed, Refused, TimeoutError) as errors:
        for error in errors.exceptions:
            say(f"The demo failed: {str(error) or f'it took longer than {DEADLINE_S:g} s.'}", "bold red")
        for name in processes.names:
            for line in processes.last_words(name):
                say(f"{name}: {line}", "dim")


def _start(processes: Processes, comfyui: Mapping[str, str], store: str) -> None:
    """Start the store's stand-in and the daemon. `comfyui`: addresses by name."""
    folder = processes.folder
    config = folder / "config.toml"
    config.write_text(config_text(folder, comfyui) + _store_section(processes, store), encoding="utf-8")
    processes.start("daemon", ("comfyledger", "run", "--config", str(config)))
    daemon = processes.url_of("daemon", folder / "state" / "door.json")
    say(f"ComfyUI at {', '.join(comfyui.values())}, the daemon at {daemon}, all files below {folder}", "dim")


def _store_section(processes: Processes, store: str) -> str:
    """The section of the store, whose stand-in is started if it has one."""
    match store:
        case "cloudinary":
            return _account(processes)
        case "s3":
            return start_bucket(processes)
    return folder_section(processes.folder)


def _account(processes: Processes) -> str:
    """Start a stand-in for Cloudinary. Returns the section of the store that uses it."""
    folder = processes.folder
    processes.start("account", ("comfyledger.sim", "cloudinary", "--port", "0", "--root", str(folder / "cloudinary")))
    url = processes.url_of("account", processes.output("account"))
    listening = json.loads(processes.output("account").read_text())
    (folder / "cloudinary.url").write_text(listening["cloudinary_url"], encoding="utf-8")
    say(f"Cloudinary's stand-in at {url}", "dim")
    file = quoted(str(folder / "cloudinary.url"))
    return f'[stores.cloudinary]\nkind = "cloudinary"\nurl_file = {file}\nupload_prefix = {quoted(url)}\n'


def folder_section(folder: Path) -> str:
    return f'[stores.folder]\nkind = "folder"\nroot = {quoted(str(folder / "images"))}\n'


def config_text(folder: Path, comfyui: Mapping[str, str]) -> str:
    """The daemon's configuration for the demo, without the store."""
    sections = "".join(f"[comfyui.{name}]\nurl = {quoted(url)}\n\n" for name, url in comfyui.items())
    return f"state_dir = {quoted(str(folder / 'state'))}\n\n[door]\nport = 0\n\n{sections}"


def _fleet(processes: Processes, standins: StandIns, count: int) -> bool:
    """Whether everything is as promised although a box, a stand-in and the database were killed."""
    fleet = Fleet(processes, Database(processes), standins, names_of(count))
    fleet.begin()
    return asyncio.run(_fleet_job(processes.folder, fleet))


async def _fleet_job(folder: Path, fleet: Fleet) -> bool:
    """Each batch is asked for at another box, and followed at one that is not killed."""
    states = [fleet.state(name) for name in fleet.names]
    for state in states:
        await _comfyui_answers(state)
    async with asyncio.timeout(FLEET_DEADLINE_S):
        with screen(as_json=False) as shown_on:
            asking = [_accepted(states[at % len(states)], asked) for at, asked in enumerate(BATCHES)]
            given = list(zip(BATCHES, await asyncio.gather(*asking), strict=True))
            async with asyncio.TaskGroup() as group:
                for at, (asked, batch) in enumerate(given):
                    group.create_task(_follow(states[at % (len(states) - 1)], asked, batch, shown_on))
                killing = group.create_task(fleet.kill_one_of_each())
        _say_files(folder / "images")
        _say_numbers(given)
        for sentence in killing.result():
            say(sentence)
        await _say_log(states[0])
    return _say_whether_whole(folder, given, await asyncio.to_thread(faults, folder / "images", given))


async def _main_job(folder: Path, standins: StandIns | None) -> bool:
    """Whether everything is as promised. `standins`: several, of which one is killed."""
    state = folder / "state"
    await _comfyui_answers(state)
    async with asyncio.timeout(DEADLINE_S):
        with screen(as_json=False) as shown_on:
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(_ask_and_follow(state, asked, shown_on)) for asked in BATCHES]
                killing = group.create_task(standins.kill_one(state)) if standins else None
        given = [task.result() for task in asking]
        await _downloaded(folder, given)
        _say_files(folder / "images")
        _say_numbers(given)
        if killing is not None:
            say(killing.result())
            say(f"Together: {', '.join(await shares(state))}.")
        await _say_log(state)
    return _say_whether_whole(folder, given, await asyncio.to_thread(faults, folder / "images", given))


def _say_whether_whole(folder: Path, given: list[Given], found: list[str]) -> bool:
    """Print each fault, or that there is none."""
    for fault in found:
        say(fault, "bold red")
    if not found:
        count = sum(len(batch.images) for _, batch in given)
        say(f"All {count} files are there, whole, each with its own number; no number was given twice.", "bold green")
    return not found


async def _comfyui_answers(state: Path) -> None:
    """Raises DemoFailed with the daemon's reason if it does not reach ComfyUI in time."""
    async with Client(state_dir=state, name="demo") as client:
        for _ in range(COMFYUI_TRIES):
            info = await client.server_info()
            if all(backend.connected for backend in info.backends):
                return
            await asyncio.sleep(COMFYUI_PAUSE_S)
    urls = ", ".join(backend.url for backend in info.backends)
    why = " ".join(lane.text for lane in info.lanes)
    raise DemoFailed(f"ComfyUI at {urls} does not answer ({why}). Start it, or omit --comfyui to use the stand-in.")


async def _ask_and_follow(state: Path, asked: Asked, shown_on: Screen) -> Given:
    batch = await _accepted(state, asked)
    await _follow(state, asked, batch, shown_on)
    return asked, batch


async def _follow(state: Path, asked: Asked, batch: wire.BatchAccepted, shown_on: Screen) -> None:
    """At the daemon of a state folder, which need not be that which accepted the batch."""
    async with Client(state_dir=state, name=asked.client) as client:
        await follow(client, batch.batch_id, shown_on)


async def _accepted(state: Path, asked: Asked) -> wire.BatchAccepted:
    is_video = asked.extension == "mp4"
    async with Client(state_dir=state, name=asked.client) as client:
        return await client.submit(
            request_id=f"demo-{uuid.uuid4()}",
            username=asked.username,
            character=CHARACTER,
            premade=asked.premade,
            workflow=VIDEO_WORKFLOW if is_video else WORKFLOW,
            images=[wire.ImageAsked({"1.color" if is_video else "color": colour}) for colour in asked.colours],
        )


async def _downloaded(folder: Path, given: list[Given]) -> None:
    """Download images that are not in a folder, under their names: this proves that they are there."""
    async with Client(state_dir=folder / "state", name="demo") as client:
        for _, batch in given:
            for image in (await client.get_batch(batch.batch_id)).images:
                for upload in image.uploads:
                    target = folder / "images" / f"{image.public_id}.{image.extension}"
                    if upload.url.startswith("http"):
                        await asyncio.to_thread(_download, upload.url, target)
                    elif upload.url.startswith(OBJECT):
                        await asyncio.to_thread(save_object, folder, upload.url, target)


class _Direct(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a file from another address is not the image that was stored."""

    def redirect_request(self, *_: object) -> None:
        """Without a new request the redirect is an error."""


def _download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.build_opener(_Direct).open(url, timeout=DOWNLOAD_S) as answer:
        target.write_bytes(answer.read())


def _say_files(root: Path) -> None:
    tree = Tree(Text(clean(str(root))))
    _grow(tree, root)
    console().print(tree, soft_wrap=True)


def _grow(tree: Tree, folder: Path) -> None:
    entries = sorted(entry for entry in folder.iterdir() if entry.name != STORE_MARK) if folder.is_dir() else []
    for entry in entries:
        _grow(tree.add(Text(clean(entry.name))), entry)


def _say_numbers(given: list[Given]) -> None:
    for asked, batch in given:
        numbers = ", ".join(map(str, batch.numbers))
        say(f"{asked.client} asked for {asked.what} for {asked.username} and was given {numbers}")


async def _say_log(state: Path) -> None:
    async with Client(state_dir=state, name="demo") as client:
        head = client.welcome
        say(f"The last {LOG_LINES} of {head.position} events:")
        past = read_past(client, head, max(0, head.position - LOG_LINES))
        async with contextlib.aclosing(past):
            async for event in past:
                say(event_line(event), "dim")


def _say_kept(processes: Processes, state: Path) -> None:
    page = json.loads((state / "door.json").read_text())["url"]
    say(f"Still running. Look at it:  {page}/")
    say(f"Sign in there with:         comfyledger --state-dir {state} open")
    say(f"Talk to it:                 comfyledger --state-dir {state} status")
    say(f"End it:                     kill {' '.join(map(str, processes.ids))}")
    say(f"Then remove:                {' '.join(map(str, processes.folders))}")
