"""Signal handlers: SIGTERM and SIGINT stop the daemon, SIGHUP reads its configuration again.

`[logging]`, the characters and the ComfyUIs change while the daemon runs. For all else the log names the keys that need
a restart. An invalid configuration is logged and changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import fields

from comfyledger import logs, settings
from comfyledger.errors import Refused
from comfyledger.settings import Settings
from comfyledger.workers.process.notify import READY, Notifier

AT_ONCE: Final = frozenset(
    {"logging", "source", "characters", "characters_dir", "character_defaults_for", "comfyui", "backends"}
)

log = structlog.get_logger("comfyledger.signals")


def install_signal_handlers(stop: asyncio.Event, reloading: Reloading) -> None:
    """Install the handlers. At a terminal SIGHUP stops the daemon, because the terminal has closed."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.isatty(0):
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    else:
        loop.add_signal_handler(signal.SIGHUP, reloading.begin)


Load = Callable[[], Settings]
"""Reads the file again. Raises Refused."""


TakeIn = Callable[[Load], Awaitable[Settings]]
"""Loads the file and applies what changes besides `[logging]`. Raises Refused if it changes nothing."""


class Reloading:
    """Reads the file that `running` came from again, one time after the other. What is asked for while the daemon
    starts, which has read the file already, is done once it is built.
    """

    def __init__(self, running: Settings, notifier: Notifier) -> None:
        self._running, self._notifier = running, notifier
        self._built: asyncio.Future[TakeIn] = asyncio.get_running_loop().create_future()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def built(self, take_in: TakeIn) -> None:
        """Have it taken in by `take_in` from now on. To be called once."""
        self._built.set_result(take_in)

    def begin(self) -> None:
        self._notifier.reloading()
        task = asyncio.get_running_loop().create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        """Sends READY again however that ends."""
        take_in = await self._built
        async with self._lock:
            try:
                found = await take_in(self._load)
            except Refused as refusal:
                log.error("config.not_reloaded", error=str(refusal))
            else:
                logs.configure(level=found.logging.level, layout=found.logging.format)
                waits = differing(self._running, found)
                log.info("config.reloaded", logging_level=found.logging.level, restart_needed=waits)
            finally:
                self._notifier.say(READY)

    def _load(self) -> Settings:
        source = self._running.source
        return settings.load(Path(source) if source else None, Path(self._running.state_dir))


def differing(running: Settings, found: Settings) -> list[str]:
    """The keys and sections of the top level that differ and wait for a restart."""
    names = [field.name for field in fields(Settings) if field.name not in AT_ONCE]
    return [name for name in names if getattr(running, name) != getattr(found, name)]
