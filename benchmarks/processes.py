"""The processes that benchmarks measure: a daemon with its own folder, a stand-in for ComfyUI, the server of a peer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

DEADLINE_S: Final = 30.0
HERE: Final = Path(__file__).parent


@contextmanager
def process(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that ends with the block. Its output goes to a file."""
    with log.open("wb") as file:
        running = subprocess.Popen([sys.executable, *words], stdout=file, stderr=file)  # noqa: S603
        try:
            yield running
        finally:
            running.terminate()
            running.wait(DEADLINE_S)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for the first true value. Raises TimeoutError."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)
    return found


@contextmanager
def peer(script: str, *words: str, folder: Path) -> Iterator[str]:
    """The address that a server in this folder prints first."""
    log = folder / f"{script}.log"
    with process([str(HERE / script), *words], log):
        yield str(until(lambda: log.read_text().partition("\n")[0], f"{script} listens"))


@contextmanager
def standin(folder: Path, seconds_per_image: float = 0.0) -> Iterator[str]:
    """The address of a stand-in for ComfyUI. By default it renders at once."""
    log, output = folder / "comfyui.log", folder / "output"
    words = ["-m", "comfyledger", "sim", "comfyui", "--port", "0", "--output", str(output)]
    words += ["--seconds-per-image", str(seconds_per_image)]
    with process(words, log):
        yield str(until(lambda: _said(log, "http://"), "the stand-in listens"))


def _said(log: Path, begin: str) -> str:
    """The first word that begins with `beginning`."""
    return next((word.strip('",') for word in log.read_text().split() if word.strip('"').startswith(begin)), "")


class Daemon:
    """A running daemon: its address and its token."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.state, self.pid = folder / "state", pid
        self.url = str(json.loads((self.state / "door.json").read_text())["url"])
        self.headers = {"Authorization": f"Bearer {(self.state / 'token').read_text().strip()}"}

    @property
    def websocket(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def daemon(folder: Path, comfyui: str | Sequence[str] = "http://127.0.0.1:9", door: str = "") -> Iterator[Daemon]:
    """A daemon for one ComfyUI or several, with a folder store. `door`: further keys of that section."""
    config = folder / "config.toml"
    named = {"main": comfyui} if isinstance(comfyui, str) else {f"gpu{at}": url for at, url in enumerate(comfyui)}
    sections = "".join(f'[comfyui.{name}]\nurl = "{url}"\n' for name, url in named.items())
    config.write_text(
        'state_dir = "state"\nfirst_use = "trust"\n[door]\nport = 0\nframes_per_second_max = 1_000_000\n'
        f"{door}\n"
        f'[logging]\nlevel = "error"\n{sections}'
        f'[stores.folder]\nkind = "folder"\nroot = "images"\n'
    )
    with process(["-m", "comfyledger", "run", "--config", str(config)], folder / "daemon.log") as running:
        until(
            lambda: (folder / "state" / "door.json").exists() and (folder / "state" / "token").exists(),
            "the door is open",
        )
        yield Daemon(folder, running.pid)
