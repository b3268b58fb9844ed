"""The log of the daemon: one named fact a line, with keys, on stderr.

A terminal gets colours, programs get JSON, and the journal also gets the priority of each line.
The daemon's facts, messages of libraries, warnings and uncaught exceptions all go through `loglines`. Logging never
raises and never waits.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
import threading
import traceback
import unicodedata
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import cache, partial
from types import TracebackType
from typing import IO, Any, Final, TextIO

import structlog

from comfyledger.core.urls import without_userinfo
from comfyledger.loglines import FLUSH_S, LineWriter

_CONTROL: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Unicode categories of characters that move the cursor, change the direction or end a line."""
PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
"""The priority of each level for syslog and journald (sd-daemon(3))."""
STDERR: Final = 2
EVENT_COLUMNS: Final = 16
INDENT: Final = 4
"""Columns before each further line of a fact at a terminal."""
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_METHODS: Final = ("debug", "info", "msg", "warning", "warn", "error", "exception", "critical", "fatal", "log")
_layout_is_for_people = False
DROPPED: Final = "log.dropped"
"""The fact that reports dropped lines, with their number as `lines`."""


def configure(*, level: str, layout: str) -> None:
    """Set up structlog for the process. `layout` is json, console or auto: console at a terminal, JSON elsewhere.

    The names of facts and their keys are API; the layout is not. Tracebacks show no local variables, because these
    include secrets, and texts of users that can be forgotten.
    """
    global _layout_is_for_people  # noqa: PLW0603 (as structlog's own configuration, which it is part of)
    as_json = layout == "json" or (layout == "auto" and not _is_terminal(sys.stderr))
    _layout_is_for_people = not as_json
    to_journal = as_json and speaks_to_journal(os.environ, sys.stderr)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if as_json
        else structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
    ]
    if as_json:
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared += [structlog.processors.ExceptionRenderer(transformer), _event_first]
        shared.append(structlog.processors.JSONRenderer())
        if to_journal:
            shared.append(_with_priority)
    else:
        shared += [
            _made_visible,
            structlog.dev.ConsoleRenderer(EVENT_COLUMNS, exception_formatter=_traceback),
            _wrapped,
        ]
    structlog.configure(
        processors=shared,
        wrapper_class=_never_raising(getattr(logging, level.upper())),
        logger_factory=_Outlet,
        cache_logger_on_first_use=False,  # or a new level would not reach a module that has logged
    )
    writer = _writer()
    if writer is not None:
        writer.report = partial(_report, f"<{PRIORITY['warning']}>" if to_journal else "")


def take_in_libraries() -> None:
    """Log messages of libraries, warnings and uncaught exceptions in the same way as our own facts.

    Messages of libraries below a warning are ignored: at `debug` they write headers, and with them tokens.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_Library()], force=True)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, place: _fatal("process.broke", kind, error, place)
    threading.excepthook = lambda said: _fatal("thread.broke", said.exc_type, said.exc_value, said.exc_traceback)
    sys.unraisablehook = lambda said: _fatal("exception.ignored", said.exc_type, said.exc_value, said.exc_traceback)


def occupy_standard_files() -> None:
    """Open the null device for each missing one of standard input, output and error.

    Otherwise the next opened file would get its number, and printed text would be written into a ledger.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= STDERR:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)


def speaks_to_people() -> bool:
    """Whether the layout is the one for a terminal."""
    return _layout_is_for_people


def say(line: str) -> None:
    """A line for a person at a terminal, in order with the facts. Elsewhere it is omitted."""
    if _layout_is_for_people:
        _Outlet().msg("".join(_sign(one) for one in line))


def flush(within_s: float = FLUSH_S) -> bool:
    """Wait at most `within_s` until everything that was logged is written. False if it is not."""
    writer = _writer()
    return writer is None or writer.flush(within_s)


def dropped() -> int:
    """The number of lines that could not be written since the start."""
    writer = _writer()
    return 0 if writer is None else writer.dropped


def speaks_to_journal(environ: Mapping[str, str], file: IO[str] | None) -> bool:
    """Whether a file is systemd's stream to the journal (JOURNAL_STREAM in systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(file.fileno()) if file is not None else None
    except (OSError, ValueError):  # a closed file, or one without a descriptor
        return False
    return status is not None and (device, inode) == (str(status.st_dev), str(status.st_ino))


def _is_terminal(file: IO[str] | None) -> bool:
    try:
        return file is not None and file.isatty()
    except ValueError:  # closed
        return False


# ---- out


@cache
def _writer() -> LineWriter | None:
    """The one writer of this process, made when first needed; None without a standard error."""
    try:
        writer = LineWriter(STDERR, partial(_report, ""))
    except OSError:
        return None
    atexit.register(writer.flush)
    return writer


def _report(priority: str, lines: int) -> str:
    """The writing thread makes it without structlog: always JSON."""
    at = datetime.now(UTC).isoformat()
    return priority + json.dumps({"event": DROPPED, "lines": lines, "level": "warning", "timestamp": at})


class _Outlet:
    """Takes finished lines from structlog."""

    def __init__(self, *_: Any) -> None:
        pass

    def msg(self, line: str) -> None:
        writer = _writer()
        if writer is not None:
            writer.put(without_userinfo(line))

    debug = info = warning = error = exception = critical = fatal = log = msg


def _never_raising(level: int) -> type[structlog.typing.FilteringBoundLogger]:
    """structlog's logger of a level. A fact that cannot be formatted is dropped and counted."""
    base = structlog.make_filtering_bound_logger(level)
    return type("Guarded", (base,), {name: _guarded(getattr(base, name)) for name in _METHODS})


def _guarded(method: Callable[..., Any]) -> Callable[..., None]:
    def speak(self: Any, *words: Any, **keys: Any) -> None:
        try:
            method(self, *words, **keys)
        except Exception:
            writer = _writer()
            if writer is not None:
                writer.drop()

    return speak


# ---- libraries and uncaught exceptions


class _Library(logging.Handler):
    """Passes on messages of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:
            text = str(record.msg)
        speak = structlog.get_logger(record.name)
        speak.log(_level(record.levelno), "library.message", logger=record.name, text=text, exc_info=record.exc_info)


def _level(number: int) -> int:
    """The next lower level that structlog knows, because libraries may define levels of their own."""
    known = (logging.CRITICAL, logging.ERROR, logging.WARNING)
    return next((level for level in known if number >= level), logging.INFO)


def _fatal(fact: str, kind: type[BaseException], error: BaseException | None, place: TracebackType | None) -> None:
    structlog.get_logger("comfyledger").error(fact, exc_info=(kind, error, place))


def _made_visible(_: object, __: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters, so that a typed text cannot begin a line of its own or control a terminal."""
    for key, value in fact.items():
        if isinstance(value, str) and key != "exception":
            fact[key] = "".join(_sign(one) for one in value)
    return fact


def _wrapped(_: object, __: str, line: Any) -> str:
    """At a terminal a fact continues on an indented line, broken between words. A longer word stays whole."""
    try:
        width = os.get_terminal_size(STDERR).columns
    except OSError:  # stderr is a file: its reader breaks lines
        return str(line)
    fact, *traceback_lines = str(line).split("\n")
    return "\n".join([*broken_between_words(fact, width), *traceback_lines])


def broken_between_words(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` columns, as far as its words allow. Colours take no column."""
    lines, used = [""], 0
    for number, word in enumerate(text.split(" ")):
        columns = _columns(word)
        if columns and used > INDENT and used + 1 + columns > width:
            lines[-1] = lines[-1].rstrip(" ")
            lines.append(" " * INDENT + word)
            used = INDENT + columns
        else:
            lines[-1] += f" {word}" if number else word
            used += bool(number) + columns
    return lines


def _columns(word: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in _COLOUR.sub("", word))


def _traceback(out: TextIO, raised: Any) -> None:
    """Write it indented, so that no text of an exception begins a line."""
    for line in "".join(traceback.format_exception(*raised)).splitlines():
        out.write("\n  " + "".join(_sign(one) for one in line))


def _sign(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii") if unicodedata.category(sign) in _CONTROL else sign


def _event_first(_: object, __: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The name of the fact begins the line: journalctl cuts what does not fit on the screen."""
    return {"event": fact.pop("event", ""), **fact}


def _with_priority(_: object, method: str, line: Any) -> str:
    return f"<{PRIORITY.get(method, 6)}>{line}"
