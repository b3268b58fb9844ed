"""Finds out whether a pooler stands between a box and PostgreSQL that a box cannot work with.

A pooler of transactions gives each transaction whichever connection is free. What a session says is lost then: LISTEN,
and the limits of time that a box sets. Other poolers may drop those limits when a connection begins. A pooler of
sessions that keeps them does no harm.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.connection import connected, meaning

_PROCESS: Final = "SELECT pg_backend_pid()"
_LIMIT: Final = "SELECT current_setting('idle_in_transaction_session_timeout') <> '0'"
_HINT: Final = "Name the server itself in [ledger] shared, or have the pooler pool sessions and keep `options`."


def check(address: str, seconds: float) -> None:
    """Raises LedgerUnusable behind such a pooler, LogUnreachable."""
    with closing(connected(address, seconds)) as one, closing(connected(address, seconds)) as other, meaning():
        if one.execute(_PROCESS).fetchone() == other.execute(_PROCESS).fetchone():
            text = "Between this box and PostgreSQL stands a pooler that shares connections between transactions."
            raise LedgerUnusable(text, hint=_HINT)
        if one.execute(_LIMIT).fetchone() != (True,):
            text = "Between this box and PostgreSQL stands a pooler that drops the limits of time that a box sets."
            raise LedgerUnusable(text, hint=_HINT)
