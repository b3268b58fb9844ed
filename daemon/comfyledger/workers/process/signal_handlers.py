"""Signal handlers: SIGTERM and SIGINT stop the daemon, SIGHUP reads its configuration again.

Only `[logging]` changes while the daemon runs. For all else the log names the keys that need a restart. An invalid
configuration is logged and changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import fields

from comfyledger import logs, settings
from comfyledger.errors import Refused
from comfyledger.settings import Settings
from comfyledger.workers.process.notify import READY, Notifier

AT_ONCE: Final = frozenset({"logging", "source"})

log = structlog.get_logger("comfyledger.signals")


def install_signal_handlers(running: Settings, stop: asyncio.Event, notifier: Notifier) -> None:
    """Install the handlers. At a terminal SIGHUP stops the daemon, because the terminal has closed."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.isatty(0):
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    else:
        loop.add_signal_handler(signal.SIGHUP, reload, running, notifier)


def reload(running: Settings, notifier: Notifier) -> None:
    """Read the file that `running` came from. Sends READY again however that ends."""
    notifier.reloading()
    try:
        found = settings.load(Path(running.source) if running.source else None, Path(running.state_dir))
    except Refused as refusal:
        log.error("config.not_reloaded", error=str(refusal))
    else:
        logs.configure(level=found.logging.level, layout=found.logging.format)
        log.info("config.reloaded", logging_level=found.logging.level, restart_needed=differing(running, found))
    notifier.say(READY)


def differing(running: Settings, found: Settings) -> list[str]:
    """The keys and sections of the top level that differ and wait for a restart."""
    names = [field.name for field in fields(Settings) if field.name not in AT_ONCE]
    return [name for name in names if getattr(running, name) != getattr(found, name)]
