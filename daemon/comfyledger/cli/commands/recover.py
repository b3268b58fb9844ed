"""`recover`: retries what is parked, failed or missing, page by page through the daemon; or gives a store up.

First a plan that changes nothing, then, once a person has agreed, the same pages again as work. The daemon remembers
nothing between pages: after an interruption, begin again; it finds what is left.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Final

import click
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, find_batch, json_option
from comfyledger.cli.commands.log import moment
from comfyledger.cli.ui.bars import meter
from comfyledger.cli.ui.terminal import say, say_json, say_table, several
from comfyledger.client import Client
from comfyledger.errors import Refused

LINE_EVERY_IMAGES: Final = 10_000
"""Without a terminal one line is printed for this many images."""
PAGE: Final = 500
ASKED_PAGE: Final = 100
"""Page size if stores are asked: each image may cost a request, and the daemon answers after the last one."""
EXAMPLES_MAX: Final = 5
_WORDS: Final = {
    "upload": "refused by the store: is uploaded again",
    "render": "failed: is rendered again",
    "missing": "is missing there: is uploaded again",
    "fill": "was never owed: is uploaded",
    "renumber": "name is taken: gets a new number",
    "different": "has other bytes there: not changed",
    "elsewhere": "another store has this name now: not changed",
}
_SHOWN: Final = frozenset({"different", "elsewhere"})


def _since(_: click.Context, __: click.Parameter, typed: str | None) -> tuple[int | None, int | None]:
    """Position and time, of which at most one is given."""
    if typed is None:
        return None, None
    if re.fullmatch(r"[0-9]{1,18}", typed):
        return int(typed), None
    try:
        return None, moment(typed, time.time_ns() // 1_000_000)
    except (ValueError, OverflowError, OSError) as error:
        hint = "write a position, 2026-11-22T03:00, or 90s, 30m, 2h, 7d for a time ago."
        raise click.BadParameter(f"{typed!r} is neither a position nor a time; {hint}") from error


@click.command()
@click.option("--batch", help="Only of this batch.")
@click.option("--user", help="Only of this user's batches.")
@click.option("--store", metavar="NAME", help="Only what is owed to this store.")
@click.option("--code", help="Only what was parked or failed with this code, for example collision or execution_error.")
@click.option(
    "--since",
    callback=_since,
    help="Only batches since a position or time (2h: two hours ago). With --store, also what was never owed to it.",
)
@click.option("--missing", is_flag=True, help="Also ask the stores which images they have lost.")
@click.option("--new-number", is_flag=True, help="Give new numbers to images whose names other programs have used.")
@click.option(
    "--drop-store", metavar="NAME", help="Give up what is owed to this store; cannot be combined with other selections."
)
@click.option(
    "--drop-comfyui",
    metavar="NAME",
    help="Give up removing input files at this ComfyUI, which is not configured any more; cannot be combined either.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@asks_daemon
async def recover(
    client: Client,
    batch: str | None,
    user: str | None,
    store: str | None,
    code: str | None,
    since: tuple[int | None, int | None],
    missing: bool,
    new_number: bool,
    drop_store: str | None,
    drop_comfyui: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Retry what is parked or failed, and restore what stores have lost.

    Lost files come from the spool, else from another store, else they are rendered again. Files of other programs are
    never overwritten, and what was cancelled or forgotten stays so. --drop-store gives up what a store does not have
    yet: what it has stays there, and other stores get all of theirs. --drop-comfyui gives up the input files that a
    ComfyUI has: nobody removes them there.
    """
    position, since_ms = since
    wanted = wire.Recover(
        batch_id=await find_batch(client, batch) if batch else None,
        username=user,
        store=store,
        code=code,
        since_position=position,
        since_ms=since_ms,
        missing=missing,
        new_number=new_number,
        limit=ASKED_PAGE if missing else PAGE,
    )
    dropped = wire.Recover(drop_store, drop_comfyui=drop_comfyui)
    is_drop = dropped != wire.Recover()
    wanted = _alone(wanted, dropped) if is_drop else wanted
    is_sure = yes or as_json
    plan = None if is_sure and not dry_run else await _pages(client, replace(wanted, dry_run=True), as_json)
    if plan is not None and not as_json:
        _say_plan(plan, dropped)
    if dry_run or (plan is not None and not plan.images and not plan.inputs):
        if as_json and plan is not None:
            say_json(plan)
        return DONE
    if not is_sure:
        click.confirm("Do it?", abort=True, err=True)
    done = await _pages(client, wanted, as_json)
    if as_json:
        say_json(done)
    elif is_drop:
        say(f"{_dropped(done, dropped, 'given up')}.")
    else:
        _say_done(done)
    return DONE


def _alone(wanted: wire.Recover, dropped: wire.Recover) -> wire.Recover:
    """The request to give a store or a ComfyUI up; no other selection is allowed."""
    is_alone = dropped.drop_store is None or dropped.drop_comfyui is None
    if not is_alone or replace(wanted, limit=PAGE) != wire.Recover(limit=PAGE):
        text = "--drop-store and --drop-comfyui give up all that is owed there; omit all other selections."
        raise click.UsageError(text)
    return dropped


# ---- page by page


async def _pages(client: Client, wanted: wire.Recover, as_json: bool) -> wire.Recovered:
    """All pages as one answer. Waits if a store asks for it."""
    total = wire.Recovered(0, 0, wanted.dry_run)
    with meter(as_json, LINE_EVERY_IMAGES) as shown:
        while True:
            try:
                page = await client.recover(wanted)
            except Refused as refusal:
                if not refusal.retry_after_s:
                    raise
                shown.wait(f"Waiting {refusal.retry_after_s:.0f} s. {refusal.message}")
                await asyncio.sleep(refusal.retry_after_s)
                continue
            total = _added(total, page)
            shown.count(total.looked_at, f"{several(total.looked_at, 'image')} checked")
            if not page.cursor:
                return total
            wanted = replace(wanted, cursor=page.cursor)


def _added(total: wire.Recovered, page: wire.Recovered) -> wire.Recovered:
    return replace(
        total,
        batches=total.batches + page.batches,
        images=total.images + page.images,
        steps=_joined((*total.steps, *page.steps)),
        looked_at=total.looked_at + page.looked_at,
        inputs=total.inputs + page.inputs,
    )


def _joined(steps: Iterable[wire.RecoveryStep]) -> list[wire.RecoveryStep]:
    found: dict[tuple[str, str, str], wire.RecoveryStep] = {}
    for step in steps:
        key = (step.kind, step.store, step.code)
        before = found.get(key, wire.RecoveryStep(step.kind, 0, step.store, step.code))
        examples = [*before.examples, *step.examples][:EXAMPLES_MAX]
        found[key] = replace(before, images=before.images + step.images, examples=examples)
    return list(found.values())


# ---- what it says


def _dropped(found: wire.Recovered, dropped: wire.Recover, how: str) -> str:
    if dropped.drop_comfyui is not None:
        return f"{several(found.inputs, 'input file')} at the ComfyUI {dropped.drop_comfyui} {how}"
    counts = f"{several(found.images, 'image')} of {several(found.batches, 'batch')}"
    return f"{counts} {how} for the store {dropped.drop_store}"


def _say_plan(plan: wire.Recovered, dropped: wire.Recover) -> None:
    if dropped != wire.Recover():
        say(f"{_dropped(plan, dropped, 'would be given up')}.")
        return
    _say_steps(plan.steps)
    say(f"{several(plan.looked_at, 'image')} checked, {plan.images:,} to retry.")


def _say_done(done: wire.Recovered) -> None:
    left = [step for step in done.steps if step.kind in _SHOWN]
    if left:
        _say_steps(left)
    say(f"{several(done.images, 'image')} retried; `comfyledger status` shows their progress.")


def _say_steps(steps: Iterable[wire.RecoveryStep]) -> None:
    rows = [
        (
            f"{step.images:,}",
            step.store or "-",
            step.code or "-",
            _WORDS.get(step.kind, step.kind),
            "".join(step.examples[:1]),
        )
        for step in steps
    ]
    if rows:
        say_table(("IMAGES", "STORE", "CODE", "WHAT", "FOR EXAMPLE"), rows)
