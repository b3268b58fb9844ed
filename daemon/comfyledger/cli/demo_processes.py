"""The processes of the demo: started with their output in files of its folder, and ended by their ids.

Output goes to files and not to pipes, so that processes that `--keep` leaves running do not lose their reader.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

START_S: Final = 30.0
STOP_S: Final = 10.0
POLL_S: Final = 0.02
LOG_LINES: Final = 20


class DemoFailed(Exception):
    """The demo cannot continue; the sentence says why."""


class Processes:
    """The processes that the demo started, and the files with their output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folders = [folder]
        """What is to be removed in the end."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    @property
    def names(self) -> list[str]:
        return list(self._running)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Run a module with this Python."""
        self.start_program(name, [sys.executable, "-m", *arguments])

    def start_program(self, name: str, words: Sequence[str], **run_as: Any) -> None:
        """Run a program in a session of its own: so Ctrl-C at the terminal does not reach it. `run_as`: as another
        user, see `subprocess.Popen`.
        """
        # Settings of the caller's own daemon do not apply to the demo's.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COMFYLEDGER_")}
        with self.output(name).open("wb") as out, self.log(name).open("wb") as err:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own modules, and PostgreSQL
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
                **run_as,
            )

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def url_of(self, name: str, file: Path) -> str:
        """The `url` in a JSON line that a process writes when it listens. Raises DemoFailed if it does not."""
        self._wait_for(name, lambda: bool(_url_in(file)))
        return _url_in(file)

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            code = self._running[name].poll()
            if code is not None:
                raise DemoFailed(f"The {name} ended with exit code {code}.")
            if time.monotonic() > deadline:
                raise DemoFailed(f"The {name} did not start within {START_S:g} s.")
            time.sleep(POLL_S)

    def kill(self, name: str) -> None:
        """End one at once, as a crash would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def kill_group(self, name: str) -> None:
        """End one with all processes that it has started, at once."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all processes, the last one first."""
        for process in reversed(self._running.values()):
            _end(process)
        self._running.clear()

    def remove(self) -> None:
        """Remove all files that the demo wrote, as far as that is possible."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def last_words(self, name: str) -> list[str]:
        """The last lines that a process wrote."""
        if not self.log(name).exists():
            return []
        return self.log(name).read_text(errors="replace").splitlines()[-LOG_LINES:]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _url_in(file: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads(file.read_text())["url"])
    return ""


def quoted(text: str) -> str:
    """A JSON string is a TOML string."""
    return json.dumps(text, ensure_ascii=False)
