"""How the daemon speaks: one named fact a line, with keys, on stderr. People get colours, machines get JSON, and the
journal is told how urgent each line is.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Mapping, MutableMapping
from typing import IO, Any, Final

import structlog

_STEERING: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Unicode categories of signs that move the cursor, change the direction or end a line."""
PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
"""How urgent a line is to syslog and journald, as sd-daemon(3) has it."""


def configure(*, level: str, layout: str) -> None:
    """Set up structlog for the process. `layout` is json, console or auto: for people on a terminal, JSON elsewhere.

    The names of facts and their keys are API; the layout is not. Tracebacks show no local variables: among them are
    texts that users typed, which can be forgotten, and secrets.
    """
    as_json = layout == "json" or (layout == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared += [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer()]
        if speaks_to_journal(os.environ, sys.stderr):
            shared.append(_with_priority)
    else:
        formatter = structlog.dev.RichTracebackFormatter(show_locals=False)
        shared += [_made_visible, structlog.dev.ConsoleRenderer(exception_formatter=formatter)]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # or a level that is set anew would reach no module that has spoken
    )


def speaks_to_journal(environ: Mapping[str, str], file: IO[str]) -> bool:
    """Whether a file is the stream that systemd made to the journal (JOURNAL_STREAM in systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(file.fileno())
    except OSError:  # also of a file that is none of the system's
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _made_visible(_: object, __: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What somebody typed cannot begin a line of its own on a terminal, nor steer it."""
    for key, value in fact.items():
        if isinstance(value, str) and key != "exception":
            fact[key] = "".join(_sign(one) for one in value)
    return fact


def _sign(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii") if unicodedata.category(sign) in _STEERING else sign


def _with_priority(_: object, method: str, line: Any) -> str:
    return f"<{PRIORITY.get(method, 6)}>{line}"
