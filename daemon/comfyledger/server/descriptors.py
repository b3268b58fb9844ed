"""How many connections the process can hold: file descriptors are shared with the ledger, the spool and every call."""

from __future__ import annotations

import resource
from typing import Final, NamedTuple

import structlog

from comfyledger.server.connections import STRANGERS_MAX

KEPT: Final = 256
"""Descriptors that connections never take; half of them all where there are few."""
ENDLESS: Final = resource.RLIM_INFINITY

log = structlog.get_logger("comfyledger.door")


class Places(NamedTuple):
    """For connections that showed a token, and for those that did not: of these for each kind of socket."""

    guests: int
    strangers: int


def places(guests_wanted: int, descriptors: int) -> Places:
    """What so many descriptors allow: a quarter of what is not kept for each kind of strangers, at most."""
    rest = descriptors - min(KEPT, descriptors // 2)
    strangers = min(STRANGERS_MAX, rest // 4)
    return Places(min(guests_wanted, rest - 2 * strangers), strangers)


def claim(guests_wanted: int) -> Places:
    """Raise the process's own limit as far as it needs and may, and share out what that gives."""
    needed = guests_wanted + 2 * STRANGERS_MAX + KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != ENDLESS and soft < needed:
        soft = needed if hard == ENDLESS else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = places(guests_wanted, needed if soft == ENDLESS else soft)
    if found.guests < guests_wanted:
        log.warning("door.few_descriptors", descriptors=soft, needed=needed, connections_max=found.guests)
    return found
