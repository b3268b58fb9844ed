"""Processes of the daemon that start sooner: forked from a server that has imported what they need.

One module of comfyledger reads the environment while it is imported, `crash_points`. Each process imports it anew.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path

from comfyledger import crash_points

FOREIGN = ["pytest", "aiohttp", "aiohttp.web", "click", "msgspec", "rich.console", "rich.progress", "rich.table"]
FOREIGN += ["rich.live", "rich.traceback", "structlog", "sqlite_utils", "pluggy", "ulid", "websockets.asyncio.client"]
FOREIGN += ["PIL.Image", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.WebPImagePlugin"]
FOREIGN += ["encodings.idna", "httptools", "psycopg", "cryptography.hazmat.primitives.ciphers.aead"]
OURS = ["comfyledger.app", "comfyledger.cli.main", "comfyledger.cli.commands.run", "comfyledger.sim.comfyui.server"]
OURS += ["comfyledger.sim.cloudinary.server", "comfyledger.sim.objects.server", "comfyledger_folder"]
OURS += ["comfyledger_cloudinary", "uvloop"]

LAST = "support.frozen"


@cache
def _server() -> ForkServerContext:
    """It finds this package by the environment that it is started with; its children get another."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*FOREIGN, *OURS, LAST])
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), before)))
    ensure_running()
    if before:
        os.environ["PYTHONPATH"] = before
    else:
        del os.environ["PYTHONPATH"]
    return context


class Forked:
    """Such a process, with as much of the face of `subprocess.Popen` as tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        out: Path,
        log: Path,
        constants: Mapping[str, float],
    ) -> None:
        given = (arguments, environment, out, log, constants)
        self._process: ForkServerProcess = _server().Process(target=_become, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code


def _become(
    arguments: Sequence[str], environment: dict[str, str], out: Path, log: Path, constants: Mapping[str, float]
) -> None:
    """The first argument is the module that the process is."""
    for path, number in ((out, 1), (log, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    importlib.reload(crash_points)
    for place, value in constants.items():
        owner, _, name = place.rpartition(".")
        assert hasattr(importlib.import_module(owner), name), f"{place} is gone"
        setattr(importlib.import_module(owner), name, value)
    module, *rest = arguments
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:  # which multiprocessing leaves out; the last lines of the log are written then
        atexit._run_exitfuncs()
