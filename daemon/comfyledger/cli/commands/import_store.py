"""`import`: takes over the numbers that a store holds, so that the first batch of a series need not ask the store.

Reads the store page by page through the daemon and adds up what it holds; then raises every series, also in pages.
The store is not changed, and importing again is harmless.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from comfyledger import wire
from comfyledger.cli import import_state
from comfyledger.cli.base import DONE, REFUSED, Reach, asks_daemon, json_option
from comfyledger.cli.import_state import Seen, Tally
from comfyledger.cli.ui.bars import Meter, meter
from comfyledger.cli.ui.terminal import clock, say, say_aside, say_json, say_table
from comfyledger.client import Client
from comfyledger.client.finding import find_state_dir
from comfyledger.errors import Refused

SERIES_PAGE: Final = 500
SHOWN: Final = 20
"""Series in the table; `--json` has all."""
LINE_EVERY_FILES: Final = 10_000
"""Without a terminal one line is printed for this many files."""
SOON_S: Final = 43_200.0
"""Waits shorter than this are shown with the time of day alone."""


@click.command("import")
@click.argument("store")
@click.option("--prefix", default="", metavar="FOLDER", help="Only files below this folder of the store.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--accept-outlier", is_flag=True, help="Also take numbers that are far above the next lower one.")
@click.option(
    "--ignore-outlier", is_flag=True, help="Continue above the next lower number; the files stay as they are."
)
@click.option("--restart", is_flag=True, help="Begin again instead of continuing an interrupted import.")
@json_option
@asks_daemon
async def import_store(
    client: Client,
    store: str,
    prefix: str,
    dry_run: bool,
    accept_outlier: bool,
    ignore_outlier: bool,
    restart: bool,
    as_json: bool,
) -> int:
    """Continue each series above the highest number that STORE holds. The store is not changed.

    STORE is a store's name or its kind. An interrupted import continues where it was. An outlier is a number above
    10,000 and more than a hundred times the next lower one, for example a date. A series with an outlier is shown and
    not taken, and the command exits 1, unless --accept-outlier or --ignore-outlier says what the number is.
    """
    if accept_outlier and ignore_outlier:
        raise click.UsageError("Give --accept-outlier or --ignore-outlier, not both.")
    place = _store_called(store, await client.server_info())
    path = _state_dir() / f"import-{place.name}.json"
    begun = Tally(place.identity, client.welcome.epoch, prefix, int(time.time() * 1000))
    with meter(as_json, LINE_EVERY_FILES) as shown:
        tally = begun if restart else _begun_before(path, begun, shown)
        if ignore_outlier and tally.complete:
            tally = begun  # Numbers below an outlier grow, so read them again.
        await _read_store(client, place.name, tally, path, shown)
        is_decided = accept_outlier or ignore_outlier
        doubted = [seen for seen in tally.series.values() if seen.doubt and not is_decided]
        taken = [_taken(seen, ignore_outlier) for seen in tally.series.values() if is_decided or not seen.doubt]
        raised = None if dry_run else await _raise(client, place.name, taken, shown)
    if not (dry_run or doubted):
        path.unlink(missing_ok=True)
    (_say_as_json if as_json else _say_all)(place.name, tally, doubted, raised)
    return REFUSED if doubted else DONE


def _store_called(given: str, info: wire.Info) -> wire.StoreInfo:
    named = [store for store in info.stores if store.name == given]
    found = named or [store for store in info.stores if store.kind == given]
    if len(found) != 1:
        known = ", ".join(f"{store.name} ({store.kind})" for store in info.stores) or "none"
        text = f"No store, or more than one, matches {given[:64]!r}."
        raise Refused("unknown_store", text, hint=f"Configured: {known}.")
    if found[0].problem:
        hint = "`comfyledger status` shows when it works again."
        raise Refused("store_unavailable", f"The store {found[0].name}: {found[0].problem}", hint=hint)
    return found[0]


def _state_dir() -> Path:
    reach = click.get_current_context().find_object(Reach)
    return (reach.state_dir if reach else None) or find_state_dir(os.environ)


# ---- reading and raising


def _begun_before(path: Path, begun: Tally, shown: Meter) -> Tally:
    """What an interrupted import of the same store has read, unless that is too old; else an empty tally."""
    before = import_state.load(path)
    if before is None or not before.goes_on(begun):
        return begun
    when = clock(before.begun_at_ms)[:16]
    shown.say(f"Continues with {before.files:,} files that were read since {when}. --restart begins again.")
    return before


async def _read_store(client: Client, store: str, tally: Tally, path: Path, shown: Meter) -> None:
    """Read page by page to the end. Waits whenever the store asks for it."""
    _count(tally, shown)
    while not tally.complete:
        try:
            tally.add(await client.survey_store(store, prefix=tally.prefix, cursor=tally.cursor))
        except Refused as refusal:
            if not refusal.retry_after_s:
                shown.say(f"{tally.files:,} files are read: the same command continues there.")
                raise
            shown.say(_waits(store, refusal, tally.files))
            await asyncio.sleep(refusal.retry_after_s)
        else:
            import_state.save(path, tally)
            _count(tally, shown)


def _count(tally: Tally, shown: Meter) -> None:
    shown.count(tally.files, f"{tally.files:,} files read, {len(tally.series):,} series")


def _waits(store: str, refusal: Refused, files: int) -> str:
    until = clock(int((time.time() + refusal.retry_after_s) * 1000))
    when = until[11:] if refusal.retry_after_s < SOON_S else until
    return f"{store} asks to wait until {when}; {files:,} files are read. {refusal.message}"


def _taken(seen: Seen, ignore_outlier: bool) -> wire.SeriesFound:
    highest = seen.doubt[1] if ignore_outlier and seen.doubt else seen.highest
    return wire.SeriesFound(seen.folder, seen.stem, highest or seen.highest, seen.suffix, counts=highest > 0)


async def _raise(client: Client, store: str, taken: Sequence[wire.SeriesFound], shown: Meter) -> wire.SeriesRaised:
    opened = raised = unchanged = done = 0
    rest = iter(taken)
    while page := list(islice(rest, SERIES_PAGE)):
        answer = await client.raise_series(store, page)
        opened, raised, unchanged = opened + answer.opened, raised + answer.raised, unchanged + answer.unchanged
        done += len(page)
        shown.progress(done, len(taken), f"{done:,} of {len(taken):,} series raised")
    return wire.SeriesRaised(opened, raised, unchanged)


# ---- the result


def _say_as_json(store: str, tally: Tally, doubted: list[Seen], raised: wire.SeriesRaised | None) -> None:
    said: dict[str, Any] = {
        "store": store,
        "dry_run": raised is None,
        "files": tally.files,
        "others": tally.others,
        "series": list(tally.series.values()),
        "doubted": doubted,
    }
    say_json(said | (msgspec.structs.asdict(raised) if raised else {}))


def _say_all(store: str, tally: Tally, doubted: list[Seen], raised: wire.SeriesRaised | None) -> None:
    largest = sorted(tally.series.values(), key=lambda seen: -seen.images)
    if largest:
        rows = ((f"{seen.images:,}", str(seen.highest), seen.name) for seen in largest[:SHOWN])
        say_table(("IMAGES", "HIGHEST", "SERIES"), rows)
    if len(largest) > SHOWN:
        say(f"and {len(largest) - SHOWN:,} more series; --json has all")
    images = tally.files - tally.others
    say(f"{store}: {images:,} images of {len(largest):,} series, {tally.others:,} other files.")
    if raised is None:
        say(f"Nothing was changed: {len(largest) - len(doubted):,} series would continue above their highest number.")
    else:
        say(f"Series new: {raised.opened:,}, raised: {raised.raised:,}, not changed: {raised.unchanged:,}.")
    if doubted:
        _say_doubted(doubted)


def _say_doubted(doubted: list[Seen]) -> None:
    say(f"Not taken, since a number is far above the next lower one ({len(doubted):,}):", "yellow")
    rows = ((str(one.doubt[0]), str(one.doubt[1]), one.name) for one in doubted if one.doubt)
    say_table(("NUMBER", "BELOW", "SERIES"), rows)
    say_aside(
        "If these are image numbers, run it again with --accept-outlier. If not, rename those files and run it again "
        "with --restart, or run it again with --ignore-outlier."
    )
