"""Connections to PostgreSQL whose every step has a deadline, and what a failure of one means.

libpq waits for an answer for ever: a server that was stopped, or a network that swallows packets, says nothing. So each
wait ends with the time that the caller allowed (`within`), and the connection is given up then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import LogUnreachable

CONNECT_S: Final = 2
"""For each address of the server. libpq takes no shorter time."""
HOLD_S: Final = 2
"""So long a box may hold the lock of the log without a word: one that sleeps is cut off by the server."""
LOCK_S: Final = 1
"""So long the server waits for the lock of the log: less than the box does. Otherwise it would go on waiting for boxes
that have given up, and run out of connections while a standby is away."""
SESSION: Final = {
    "application_name": "comfyledger",
    "connect_timeout": str(CONNECT_S),
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "options": f"-c lock_timeout={LOCK_S}s -c idle_in_transaction_session_timeout={HOLD_S}s"
    " -c default_transaction_isolation=read\\ committed -c synchronous_commit=on",
}
"""READ COMMITTED, because what others wrote is looked up after the lock of the head is had, and must be seen then."""

_AWAY: Final = (
    psycopg.OperationalError,  # among them: shutting down, starting up, a connection that was cut
    psycopg.InterfaceError,  # the connection is closed already
    errors.ReadOnlySqlTransaction,  # a standby that is not promoted yet
    errors.IdleInTransactionSessionTimeout,
)


class Connection(psycopg.Connection[Any]):
    """A connection in autocommit mode whose waits end at a deadline."""

    deadline: float = 0.0
    """On the clock of `time.monotonic`."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Raises `psycopg.OperationalError` when the deadline has come. Then the connection cannot be used again."""
        left = max(0.001, self.deadline - time.monotonic())
        return super().wait(gen, interval, left if timeout is None else min(timeout, left))

    def within(self, seconds: float) -> None:
        """Everything from now on has to be done in so many seconds."""
        self.deadline = time.monotonic() + seconds


def connected(address: str, seconds: float) -> Connection:
    """A new connection. `seconds`: see `Connection.within`. Raises LogUnreachable, LedgerUnusable."""
    with meaning():
        connection = Connection.connect(make_conninfo(address, **SESSION), autocommit=True, prepare_threshold=1)
        connection.within(seconds)
        return connection


@contextmanager
def meaning() -> Iterator[None]:
    """Raises LogUnreachable where the server is away, and LedgerUnusable for other errors of the database."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise LedgerUnusable(f"PostgreSQL does not allow it: {_first(error)}", hint=_ROLE) from error
    except (errors.UndefinedTable, errors.InvalidCatalogName) as error:
        raise LedgerUnusable(f"The database holds no fleet: {_first(error)}", hint=_INIT) from error
    except (errors.InvalidPassword, errors.InvalidAuthorizationSpecification) as error:
        raise LogUnreachable(f"PostgreSQL refuses the login: {_first(error)}") from error
    except _AWAY as error:
        raise LogUnreachable(f"The shared log cannot be reached: {_first(error)}") from error
    except psycopg.Error as error:
        raise LedgerUnusable(f"PostgreSQL failed the shared log: {_first(error)}", hint=_LOG) from error


_ROLE: Final = "See docs/fleet.md for the role that a box needs."
_INIT: Final = "Run `comfyledger fleet init` once, or correct [ledger] shared."
_LOG: Final = "PostgreSQL's own log has the details."


def _first(error: Exception) -> str:
    """The first line of what libpq says, which ends with a stop."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if text.endswith(".") else f"{text}."
