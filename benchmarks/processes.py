"""The processes that benchmarks measure: a daemon with its own folder, a stand-in for ComfyUI, the server of a peer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

DEADLINE_S: Final = 30.0
HERE: Final = Path(__file__).parent


@contextmanager
def process(words: Sequence[str], log: Path, program: str = sys.executable) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the block, by default Python. Its output goes to a file."""
    with log.open("wb") as file:
        running = subprocess.Popen([program, *words], stdout=file, stderr=file)  # noqa: S603
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


class Used(NamedTuple):
    """What a process has used so far, or what it used between two looks.

    `run_s`: processor time of its threads, which is finer than the times of user and system. Switches are those of the
    threads that live. `written_bytes`: what it made dirty on disks.
    """

    run_s: float
    user_s: float
    system_s: float
    voluntary: int
    involuntary: int
    written_bytes: int

    def since(self, before: Used) -> Used:
        return Used(*(now - then for now, then in zip(self, before, strict=True)))


def used_by(pid: int) -> Used:
    """What the process has used so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    switches = [int(line.split()[1]) for one in threads for line in _lines(one / "status") if "ctxt_switches" in line]
    run_ns = sum(int(line.split()[0]) for one in threads for line in _lines(one / "schedstat"))
    written = next(int(line.split()[1]) for line in _lines(Path(f"/proc/{pid}/io")) if line.startswith("write_bytes"))
    return Used(
        run_ns / 1e9,
        int(fields[11]) / ticks,
        int(fields[12]) / ticks,
        sum(switches[::2]),
        sum(switches[1::2]),
        written,
    )


def _lines(path: Path) -> list[str]:
    """The lines of a file below /proc; none if its thread has ended."""
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []


def listener(port: int) -> int:
    """The process of this machine that listens on a TCP port. Raises LookupError."""
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    fields = [line.split() for table in tables for line in _lines(table)[1:]]
    sockets = {f"socket:[{one[9]}]" for one in fields if one[3] == "0A" and int(one[1].rpartition(":")[2], 16) == port}
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(os.readlink(one) in sockets for one in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:
            continue
    raise LookupError(f"no process of ours listens on port {port}")


class ComfyUI:
    """A ComfyUI on this machine, or its stand-in. `control` is the stand-in's second address; None for a real one."""

    def __init__(self, url: str, control: str | None = None) -> None:
        self.url, self.control = url.rstrip("/"), control
        self.pid = listener(int(self.url.rpartition(":")[2]))

    def requests(self, after: int = 0) -> tuple[Counter[str], int]:
        """What was asked of the stand-in after this many entries of its ledger, by kind, and how many entries it has.

        A kind is the method and the first part of the path: the rest names a prompt.
        """
        with urllib.request.urlopen(f"{self.control}/ledger", timeout=DEADLINE_S) as answer:  # noqa: S310 (our own)
            ledger = json.load(answer)
        asked = [one for one in ledger["requests"] if one["order"] > after]
        return Counter(f"{one['method']} /{one['path'].split('/')[1]}" for one in asked), ledger["count"]


@contextmanager
def standin(folder: Path, *words: str) -> Iterator[ComfyUI]:
    """A stand-in for ComfyUI, with further options. By default it renders at once."""
    log, output = folder / "comfyui.log", folder / "output"
    with process(["-m", "comfyledger", "sim", "comfyui", "--port", "0", "--output", str(output), *words], log):
        said = until(lambda: log.read_text().partition("\n")[0], "the stand-in listens")
        yield ComfyUI(**json.loads(said))


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
        return used_by(self.pid).run_s


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
