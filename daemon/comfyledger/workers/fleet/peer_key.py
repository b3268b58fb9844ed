"""The signatures with which boxes of a fleet ask each other for files: all of them have the secret of the one ledger.

A signature is good for one path and a short time, so what somebody overhears is worth little, and no token of an app
ever goes from box to box.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final

LASTS_S: Final = 120
"""Clocks of boxes may differ by as much, if the one that is asked has not told its own."""
IMAGES: Final = "/fleet/images"
INPUTS: Final = "/fleet/inputs"
_PURPOSE: Final = b"comfyledger boxes 1"
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,11}")


class PeerKey:
    """`secret`: of the ledger. `now_s`: the wall clock."""

    def __init__(self, secret: bytes, now_s: Callable[[], float]) -> None:
        self._key = hmac.digest(secret, _PURPOSE, "sha256")
        self._now_s = now_s

    def signed(self, path: str, clock_s: float | None = None) -> str:
        """A path with the query that lets another box answer it. `clock_s`: what the clock of that box shows, if known,
        because it is the one that judges.
        """
        expires = int(self._now_s() if clock_s is None else clock_s) + LASTS_S
        return f"{path}?expires={expires}&signature={self._signature(path, expires)}"

    def allows(self, path: str, expires: str, signature: str) -> bool:
        """Whether a box of this fleet has asked for a path a short while ago."""
        if not _EXPIRES.fullmatch(expires):
            return False
        expected = self._signature(path, int(expires)).encode()
        left_s = int(expires) - self._now_s()
        return hmac.compare_digest(expected, signature.encode(errors="replace")) and 0 < left_s <= 2 * LASTS_S

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._key, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
