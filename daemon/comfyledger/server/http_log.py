"""What aiohttp's server says, as facts of one line: nothing that a stranger sends costs a traceback or many lines."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import structlog
from aiohttp import http_exceptions

from comfyledger.server.rate_limit import Sparing

WORDS_MAX: Final = 200

log = structlog.get_logger("comfyledger.door")


def http_log() -> logging.Logger:
    """A logger to hand to aiohttp; it belongs to the running loop."""
    made = logging.Logger("comfyledger.door.http", logging.INFO)
    made.addHandler(_Facts(Sparing(log, asyncio.get_running_loop().time)))
    return made


class _Facts(logging.Handler):
    def __init__(self, sparing: Sparing) -> None:
        super().__init__()
        self._sparing = sparing

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, http_exceptions.HttpProcessingError):
            self._sparing.info("door.malformed", status=error.code, error=_in_short(error.message))
        else:
            log.error("door.broke", error=_in_short(_text(record)), exc_info=record.exc_info)


def _text(record: logging.LogRecord) -> str:
    return record.getMessage() if record.args else str(record.msg)


def _in_short(text: Any) -> str:
    """On one line; what was sent stands in it escaped."""
    return " ".join(str(text).split())[:WORDS_MAX]
