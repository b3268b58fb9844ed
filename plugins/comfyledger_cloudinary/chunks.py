"""Chunked uploads: which parts a large file has, and where one that was interrupted continues.

An upload continues only if it is certain that Cloudinary did not take the last part: it throttled, called the signature
stale or was not reached. After any other fault nobody knows, so the file is sent anew under the same public id and
another upload id. A part that arrives twice under one upload id could change the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

from comfyledger.plugin_api import Deposit, ImageFault, LaneFault
from comfyledger_cloudinary.answers import Answer, is_unfinished, refusal
from comfyledger_cloudinary.transfer import Part

CHUNKED_ABOVE_BYTES: Final = 20_000_000
PART_BYTES: Final = 20_000_000
"""As the SDK (1.46.3) does it; Cloudinary takes parts of 5 MB and more, the last one may be smaller."""
REMEMBERED_MAX: Final = 64
NOT_TAKEN: Final = frozenset({"throttled", "clock", "not_reached"})


class Unfinished:
    """Chunked uploads that stopped between two parts, by name and MD5. Lost at a restart: then a file is sent anew."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, int]] = {}

    def parts(self, deposit: Deposit) -> Iterator[Part]:
        """The parts that are still to be sent, in their order."""
        upload_id, done = self._known.pop(_key(deposit), (secrets.token_hex(16), 0))
        for first in range(done, deposit.size_bytes, PART_BYTES):
            size = min(PART_BYTES, deposit.size_bytes - first)
            yield Part(upload_id, first, size, deposit.size_bytes)

    def stopped(self, deposit: Deposit, part: Part, answer: Answer | LaneFault | ImageFault, now_s: float) -> bool:
        """Whether the upload ends with this answer to a part. It is remembered if it can continue there."""
        if isinstance(answer, Answer) and is_unfinished(answer) and not part.is_last:
            return False
        fault = refusal(answer, now_s) if isinstance(answer, Answer) and answer.status >= 400 else answer
        if isinstance(fault, LaneFault) and fault.code in NOT_TAKEN and part.first:
            while len(self._known) >= REMEMBERED_MAX:
                del self._known[next(iter(self._known))]
            self._known[_key(deposit)] = (part.upload_id, part.first)
        return True


def _key(deposit: Deposit) -> tuple[str, str]:
    return (deposit.public_id, deposit.md5)
