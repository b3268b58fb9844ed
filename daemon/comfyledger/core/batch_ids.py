"""What the id of a batch says about time: a ULID begins with its milliseconds. (github.com/ulid/spec)"""

from __future__ import annotations

from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32."""
_LENGTH: Final = 10
_MS_MAX: Final = 2**50 - 1
"""What the digits can say; an id has only 48 bits for it."""


def first_at(at_ms: int) -> str:
    """A text at or below every id of a batch that was made at a time or later, and above all earlier ones.

    `at_ms`: milliseconds since 1970; what is below 0 counts as 0.
    """
    left = min(max(at_ms, 0), _MS_MAX)
    digits = []
    for _ in range(_LENGTH):
        left, digit = divmod(left, 32)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
