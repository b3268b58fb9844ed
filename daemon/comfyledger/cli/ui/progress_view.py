"""Shows batches that are followed: live bars on a terminal, plain lines in a pipe, JSON lines for scripts."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, Final, Protocol

from rich.cells import cell_len, set_cell_size
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from comfyledger import wire
from comfyledger.cli.base import DONE, NOT_STORED
from comfyledger.cli.ui.bars import keys_unseen
from comfyledger.cli.ui.batch_progress import BatchProgress, News
from comfyledger.cli.ui.stall_watcher import StallWatcher
from comfyledger.cli.ui.terminal import clean, console, plain, say, say_json, short, show
from comfyledger.client import Client, Pushed

TITLE_CELLS_MAX: Final = 26


class Screen(Protocol):
    """Shows batches that are followed."""

    def see(self, progress: BatchProgress, push: Pushed) -> None: ...

    def waits(self, progress: BatchProgress, reasons: Sequence[wire.OwedInfo]) -> None: ...

    def end(self, batch: wire.BatchInfo) -> None: ...


class JsonScreen:
    """Each event and progress as one line of JSON; at the end of each batch the batch itself."""

    def see(self, progress: BatchProgress, push: Pushed) -> None:
        progress.see(push)
        say_json({"type": "event" if isinstance(push, wire.LoggedEvent) else "progress", "data": plain(push)})

    def waits(self, progress: BatchProgress, reasons: Sequence[wire.OwedInfo]) -> None:
        say_json({"type": "waits", "data": {"batch_id": progress.batch_id, "owed": plain(list(reasons))}})

    def end(self, batch: wire.BatchInfo) -> None:
        say_json({"type": "batch", "data": batch})


class LineScreen:
    """A line for each piece of news."""

    def see(self, progress: BatchProgress, push: Pushed) -> None:
        for news in progress.see(push):
            say(f"{short(progress.batch_id)}  {progress.stored}/{progress.total}  {_line(news)}")

    def waits(self, progress: BatchProgress, reasons: Sequence[wire.OwedInfo]) -> None:
        for line in _why(reasons):
            say(f"{short(progress.batch_id)}  {progress.stored}/{progress.total}  {line}")

    def end(self, batch: wire.BatchInfo) -> None:
        say(outcome(batch))


class BarScreen:
    """A bar for each batch. News are lines above the bars."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def see(self, progress: BatchProgress, push: Pushed) -> None:
        for news in progress.see(push):
            style = "green" if news.what == "stored" else "yellow"
            show(self._bars.console, Text(clean(_line(news)), style=style))
        if progress.batch_id not in self._tasks:
            self._tasks[progress.batch_id] = self._bars.add_task(
                "", total=None, batch=short(progress.batch_id), step="", rate=""
            )
        title = _fitted(progress.title)
        step = f"step {progress.step}" if progress.step else ""
        self._bars.update(
            self._tasks[progress.batch_id],
            description=title,
            completed=progress.stored,
            total=progress.total or None,
            step=step,
            rate=progress.rate,
        )

    def waits(self, progress: BatchProgress, reasons: Sequence[wire.OwedInfo]) -> None:
        for line in _why(reasons):
            show(self._bars.console, Text(clean(line), style="yellow"))

    def end(self, batch: wire.BatchInfo) -> None:
        if batch.batch_id in self._tasks:
            self._bars.update(self._tasks[batch.batch_id], completed=batch.stored, total=batch.quantity, step="")
        if not all_stored(batch):
            show(self._bars.console, Text(clean(outcome(batch)), style="red"))


@contextlib.contextmanager
def screen(as_json: bool) -> Iterator[Screen]:
    """The screen that fits standard output."""
    if as_json:
        yield JsonScreen()
    elif not sys.stdout.isatty():
        yield LineScreen()
    else:
        with keys_unseen(sys.stdout.fileno()), _bars() as bars:
            yield BarScreen(bars)


def _bars() -> Progress:
    columns = (
        TextColumn("{task.fields[batch]}", markup=False, style="dim"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.completed}/{task.total}", markup=False),
        TextColumn("{task.fields[step]}", markup=False, style="dim"),
        TextColumn("{task.fields[rate]}", markup=False, style="cyan"),
    )
    return Progress(*columns, console=console())


async def follow(client: Client, batch_id: str, shown_on: Screen) -> wire.BatchInfo:
    """Show a batch until it is settled. Returns its final state."""
    progress = BatchProgress(batch_id)
    quiet = StallWatcher(client, batch_id, lambda reasons: shown_on.waits(progress, reasons))
    pushed = client.follow(batch_id, progress=True)
    async with contextlib.aclosing(pushed), _beside(quiet.run()):
        async for push in pushed:
            quiet.heard()
            shown_on.see(progress, push)
    batch = await client.get_batch(batch_id)
    shown_on.end(batch)
    return batch


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def follow_all(client: Client, batch_ids: Sequence[str], shown_on: Screen) -> int:
    """Show batches until each is settled. Returns the exit code."""
    try:
        async with asyncio.TaskGroup() as group:
            following = [group.create_task(follow(client, batch_id, shown_on)) for batch_id in batch_ids]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return DONE if all(all_stored(task.result()) for task in following) else NOT_STORED


def all_stored(batch: wire.BatchInfo) -> bool:
    return batch.stored == batch.quantity


def outcome(batch: wire.BatchInfo) -> str:
    """One sentence about a batch that is settled."""
    counts = {state: getattr(batch, state) for state in ("stored", "parked", "failed", "cancelled", "forgotten")}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    again = f" Retry with: comfyledger retry {batch.batch_id}" if batch.parked or batch.failed else ""
    return f"{short(batch.batch_id)}  {batch.username} · {batch.character}: {said} of {batch.quantity}.{again}"


def _why(reasons: Sequence[wire.OwedInfo]) -> list[str]:
    """A line for each reason; none if nothing is in the way any more."""
    commands = [f" Continue with: {one.command}" if one.command else "" for one in reasons]
    return [f"waits: {one.text}{command}" for one, command in zip(reasons, commands, strict=True)]


def _line(news: News) -> str:
    return "  ".join(filter(None, news))


def _fitted(title: str) -> str:
    title = clean(title)
    return title if cell_len(title) <= TITLE_CELLS_MAX else set_cell_size(title, TITLE_CELLS_MAX - 1) + "…"
