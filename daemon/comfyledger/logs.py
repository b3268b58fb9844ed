"""How the daemon speaks: one named fact a line, with keys, on stderr. People get colours, machines get JSON."""

from __future__ import annotations

import logging
import sys

import structlog


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
    else:
        formatter = structlog.dev.RichTracebackFormatter(show_locals=False)
        shared += [structlog.dev.ConsoleRenderer(exception_formatter=formatter)]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # or a level that is set anew would reach no module that has spoken
    )
