"""Where named tokens are: in the state folder, and in a fleet in the shared database, with a copy in the state folder.

In a fleet a new token is the fleet's. A token from before the fleet stays that of its box, until it is revoked there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from comfyledger.cli.base import refusing
from comfyledger.errors import Refused
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.server.salted_key import make_salt
from comfyledger.server.tokens import Token, put_file, read_tokens
from comfyledger.settings import Settings

T = TypeVar("T")


def listed(settings: Settings) -> list[tuple[Token, bool]]:
    """The named tokens that are valid at this box, and whether each is the fleet's. Raises Refused, OSError."""
    own = [(one, False) for one in read_tokens(settings.tokens_path)]
    if not settings.box_name:
        return own
    from comfyledger.ledger.shared import door_files
    from comfyledger.startup.fleet import address_of, keep_door_files

    with _reaching():
        keep_door_files(settings, door_files.read(address_of(settings, os.environ)))
    return own + [(one, True) for one in read_tokens(settings.fleet_tokens_path)]


def changed(settings: Settings, label: str, work: Callable[[Path], T], *, is_new: bool = False) -> T:
    """Do something to the file that has, or gets, the token of a label. Raises Refused, OSError."""
    has = label in {one.label for one in read_tokens(settings.tokens_path)}
    if not settings.box_name or (has and not is_new):
        return work(settings.tokens_path)
    if has:
        hint = f"`comfyledger token revoke {label}` ends that one, so that the fleet can have it."
        raise Refused("invalid_field", f"The label {label!r} has a token of this box already.", hint=hint)
    return _in_fleet(settings, work)


def _in_fleet(settings: Settings, work: Callable[[Path], T]) -> T:
    """Do it to the fleet's file, while no other box does."""
    from comfyledger.ledger.shared import door_files
    from comfyledger.startup.fleet import address_of

    path, made = settings.fleet_tokens_path, list[T]()

    def done(content: str) -> str:
        put_file(path, content.encode())
        made.append(work(path))
        return path.read_text()

    with _reaching():
        door_files.change(address_of(settings, os.environ), door_files.TOKENS, done)
    return made[0]


def rotate_salt(settings: Settings) -> None:
    """A new salt of signed addresses, in a fleet at all boxes. Raises Refused, OSError."""
    if not settings.box_name:
        make_salt(settings.file_urls_path)
        return
    from comfyledger.ledger.shared import door_files
    from comfyledger.startup.fleet import address_of, keep_door_files

    address = address_of(settings, os.environ)
    with _reaching():
        door_files.change(address, door_files.SALT, lambda _: door_files.new_salt())
        keep_door_files(settings, door_files.read(address))


@contextmanager
def _reaching() -> Iterator[None]:
    """Raises Refused(log_unreachable) if the shared database is away, and as `refusing`."""
    try:
        with refusing():
            yield
    except LogUnreachable as error:
        raise Refused("log_unreachable", str(error), hint="Repeat the command once the database is back.") from error
