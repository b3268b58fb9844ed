"""Opens what lies on disk: the locks of state folder, spool and inputs, the ledger, the files and the tokens.

The lock of the state folder comes first, so that a second daemon changes nothing that belongs to the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager

import msgspec
import structlog

from comfyledger.errors import Unusable
from comfyledger.ledger import ports
from comfyledger.ledger.file_lock import Hold
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.server.salted_key import make_salt
from comfyledger.server.tokens import Keyring, find_token
from comfyledger.settings import Settings
from comfyledger.workers.inputs.known import known_to
from comfyledger.workers.inputs.room import Bounds
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.process.notify import Notifier
from comfyledger.workers.spool.checks import Checks
from comfyledger.workers.spool.folder_lock import hold_spool, hold_state
from comfyledger.workers.spool.spool import Spool

log = structlog.get_logger("comfyledger.app")


class State(msgspec.Struct, frozen=True):
    """What a daemon has on disk, open. `reader` reads the ledger without holding up `ledger`, which writes it."""

    ledger: ports.Ledger
    reader: Reader
    spool: Spool
    inputs: InputStore
    keyring: Keyring


def open_state(settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack, notifier: Notifier) -> State:
    """Everything that `stack` closes again at the end. Raises Refused, Unusable."""
    with in_state_folder(settings):
        _keep(stack, hold_state(settings.state_path))
    with notifier.extending():
        ledger = _ledger(settings, environ, stack)
    checks, strikes_max = Checks(), settings.limits.poison_strikes_max
    spool = Spool(settings.spool_path, strikes_max, checks)
    _keep(stack, hold_spool(settings.spool_path, ledger.ledger_id, settings.ledger_path))
    with in_state_folder(settings):
        keyring = _keyring(settings, environ)
        if not settings.file_urls_path.exists() and not settings.box_name:  # a fleet has one for all its doors
            make_salt(settings.file_urls_path)
    reader = Reader(settings.ledger_path)
    stack.push_async_callback(reader.close)
    inputs = InputStore(settings.inputs_path, _bounds(settings), checks, known_to(reader), strikes_max)
    _keep(stack, hold_spool(settings.inputs_path, ledger.ledger_id, settings.ledger_path, "inputs"))
    return State(ledger, reader, spool, inputs, keyring)


def _ledger(settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack) -> ports.Ledger:
    """This daemon's own, or that of a box in a fleet, which then has what the others appended meanwhile."""
    own = Ledger.open(settings.ledger_path, replica=bool(settings.box_name))
    stack.callback(own.close)
    if own.foreign:
        log.warning("ledger.foreign_objects", objects=own.foreign)
    if not settings.box_name:
        return own
    from comfyledger.startup.fleet import share

    return share(own, settings, environ, stack)


def _bounds(settings: Settings) -> Bounds:
    inputs, spool = settings.inputs, settings.spool
    return Bounds(inputs.bytes_max, spool.pixels_max, inputs.quota_bytes, spool.free_min_bytes)


def _keep(stack: AsyncExitStack, held: Hold | None) -> None:
    """Hold a lock until the daemon ends; None where the file system has no locks."""
    if held is not None:
        stack.callback(held.close)


def _keyring(settings: Settings, environ: Mapping[str, str]) -> Keyring:
    own, is_passed = find_token(settings.token_path, environ)
    named = [settings.tokens_path, *([settings.fleet_tokens_path] if settings.box_name else [])]
    return Keyring(own, None if is_passed else settings.token_path, *named)


@contextmanager
def in_state_folder(settings: Settings) -> Iterator[None]:
    """Raises Unusable for an OSError of what is done in the state folder."""
    try:
        yield
    except OSError as error:
        hint = "Check folder, permissions and disk of state_dir."
        raise Unusable(f"{settings.state_path} cannot be used: {error.strerror}.", hint=hint) from error
