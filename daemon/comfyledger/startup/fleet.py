"""Builds what a box of a fleet has beside a daemon of its own: the shared log, and its membership."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from comfyledger.engine import Engine
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger import ports
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.server.tokens import put_file
from comfyledger.settings import Settings, is_source, read_secret
from comfyledger.workers.fleet import leases
from comfyledger.workers.fleet.heard import Heard
from comfyledger.workers.fleet.key_rotation import KeyRotation
from comfyledger.workers.fleet.membership import Membership
from comfyledger.workers.fleet.namesake import Namesake
from comfyledger.workers.webhooks.turn import Turn
from comfyledger.workers.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from comfyledger.ledger.shared.ledger import SharedLedger

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""

_NEEDED: Final = ("psycopg", "cryptography")


def address_of(settings: Settings, environ: Mapping[str, str]) -> str:
    """The address of the shared log. Raises Refused(config_invalid) if its secret or a package is missing."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        hint = "Install it: pip install 'comfyledger[fleet]'."
        raise Refused("config_invalid", "[ledger] shared needs the extra `fleet`, which is not installed.", hint=hint)
    shared = settings.ledger.shared
    return read_secret(shared, environ) if is_source(shared) else shared


def share(replica: ports.Ledger, settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack) -> ports.Ledger:
    """The ledger of a box. If the database is away, it has what its replica has. Raises Refused, LedgerUnusable."""
    address = address_of(settings, environ)
    from comfyledger.ledger.shared import door_files

    shared = _opened(replica, address, settings.ledger_path)
    stack.callback(shared.close)
    with suppress(LogUnreachable):
        while shared.catch_up().more:
            pass
        keep_door_files(settings, door_files.read(address))
    return shared


def _opened(replica: ports.Ledger, address: str, path: Path) -> SharedLedger:
    """Raises LedgerUnusable, also if the file of keys cannot be used."""
    from comfyledger.ledger.shared.keys import Keys
    from comfyledger.ledger.shared.ledger import SharedLedger
    from comfyledger.ledger.shared.log import SharedLog

    try:
        keys = Keys.beside(path)
        keys.check()
        return SharedLedger.open(replica, SharedLog(address, keys))
    except OSError as error:
        text = f"The keys of the fleet's texts cannot be used: {error.strerror}."
        raise LedgerUnusable(text, hint=f"Check {path.parent}: `comfyledger doctor` says what is wrong.") from error


def keep_door_files(settings: Settings, found: Mapping[str, str]) -> None:
    """Renew the copies in the state folder of what all doors have in common. Raises OSError."""
    for path, content in copies_of(settings, found):
        if not path.exists() or path.read_text() != content:
            put_file(path, content.encode())


def copies_of(settings: Settings, found: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Where each file has its copy, and what is in it."""
    for name, path in {"tokens.json": settings.fleet_tokens_path, "file_urls.salt": settings.file_urls_path}.items():
        if name in found:
            yield path, found[name]


def fleet_loops(
    settings: Settings,
    environ: Mapping[str, str],
    engine: Engine,
    ledger: ports.Ledger,
    heard: Heard,
    webhooks: Webhooks,
    about: Callable[[], str],
    place: str,
) -> list[Loop]:
    """What runs beside a box: its membership, its turns at the webhooks, and the care of its wrapping keys. Nothing
    without a fleet. `ledger`: as `share` gave it. `place`: that which `about` names. Raises Refused(config_invalid).
    """
    if not settings.box_name:
        return []
    turn, namesake = Turn(webhooks, settings.box_name), Namesake(settings.box_name, place)
    member = _membership(settings, environ, engine, heard, about, turn, namesake)
    return [member.run, turn.run, _key_rotation(ledger, settings, environ).run]


def _key_rotation(ledger: ports.Ledger, settings: Settings, environ: Mapping[str, str]) -> KeyRotation:
    address = address_of(settings, environ)
    from comfyledger.ledger.shared.ledger import SharedLedger
    from comfyledger.ledger.shared.rotation import Rotation

    assert isinstance(ledger, SharedLedger)  # noqa: S101 (the ledger of a box)
    return KeyRotation(Rotation(address, ledger.keys, settings.box_name).tend)


def _membership(
    settings: Settings,
    environ: Mapping[str, str],
    engine: Engine,
    heard: Heard,
    about: Callable[[], str],
    turn: Turn,
    namesake: Namesake,
) -> Membership:
    address = address_of(settings, environ)
    from comfyledger.ledger.shared.boxes import box_table

    keep = partial(keep_door_files, settings)
    lease_s = leases.LEASE_S
    return Membership(engine, lambda: box_table(address), heard, settings.box.url, about, keep, turn, namesake, lease_s)
