"""Reads a ledger file instead of asking a daemon: a backup, what `replay --to` made, or a ledger moved aside."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from comfyledger import wire
from comfyledger.cli.base import Reach, Work, refusing

if TYPE_CHECKING:
    from comfyledger.ledger.sqlite.reader import Reader
    from comfyledger.maintenance.open_read_only import Identity


class Which(msgspec.Struct, frozen=True):
    """Which ledger a file holds, up to which position, and which lanes were paused in it."""

    ledger_id: str
    epoch: str
    position: int
    lanes: list[wire.LaneInfo]


class OfflineLedger:
    """A ledger file, which answers as the client of a daemon does."""

    def __init__(self, reader: Reader, identity: Identity) -> None:
        self.reader, self._identity = reader, identity

    async def which(self) -> Which:
        from comfyledger.queries import listings

        head, lanes = await self.reader.head(), await listings.paused_lanes(self.reader)
        return Which(self._identity.ledger_id, self._identity.epoch, head.position, lanes)

    async def list_batches(self, **asked: Any) -> wire.Batches:
        from comfyledger.queries import listings

        return await listings.batches(self.reader, wire.ListBatches(**asked))

    async def list_images(self, **asked: Any) -> wire.Images:
        from comfyledger.queries import listings

        return await listings.images(self.reader, wire.ListImages(**asked))


def reads_ledger(work: Work) -> Callable[..., None]:
    """Turn a function into a command: it gets a connected client, or with --ledger a file. It returns the exit code."""

    @click.option(
        "--ledger",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Read this ledger file, for example a backup, and ask no daemon.",
    )
    @click.pass_context
    @functools.wraps(work)
    def call(ctx: click.Context, /, ledger: Path | None, **options: Any) -> None:
        ctx.exit(asyncio.run(_in_file(work, ledger, options) if ledger else _at_daemon(ctx, work, options)))

    return call


async def _at_daemon(ctx: click.Context, work: Work, options: dict[str, Any]) -> int:
    reach: Reach = ctx.find_object(Reach)  # type: ignore[assignment]
    async with reach.client() as client:
        return await work(client, **options)


async def _in_file(work: Work, ledger: Path, options: dict[str, Any]) -> int:
    from comfyledger.ledger.sqlite.reader import Reader
    from comfyledger.maintenance.open_read_only import identity_of, open_read_only

    with refusing(), open_read_only(ledger) as connection:  # checks that it is a ledger, and keeps it open meanwhile
        reader = Reader(ledger)
        try:
            return await work(OfflineLedger(reader, identity_of(connection)), **options)
        finally:
            await reader.close()
