"""What all events have in common."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The root of all events."""
