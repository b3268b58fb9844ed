"""How fast uploads to Cloudinary are, and what they cost: our plugin compared with the official SDK on this machine.

    python benchmarks/upload.py --files 160 --size 1500000 --rounds 5

Both send the same files with the same parameters to the same sink on loopback. Each client is a process of its own,
rounds alternate, and the printed figures are medians. Prints one JSON object a line on standard output (`name`,
`ratio`, `value`, `unit`, `peer`), and a table for people on standard error.

A ratio is ours divided by the peer's: for the rate more is better, for everything else less. Rates are compared with
the SDK's best. Loopback costs almost nothing, so this is what a client itself can do. `--latency` shows what remains of
the difference when a server takes its time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

HERE: Final = Path(__file__).parent
MIB: Final = 1_048_576
TIMEOUT_S: Final = 300.0
GROWTH: Final = 4
"""Runs with this many times as many files, and with files this many times as large, show whether memory grows."""

Used = dict[str, float]


def name_of(kind: str) -> str:
    """What a kind of client is called, with its version if it is a peer."""
    package = {"sdk": "cloudinary", "boto3": "boto3"}.get(kind)
    return f"{package} {version(package)}" if package else "comfyledger"


@dataclass(frozen=True)
class Client:
    """A client, and how many uploads it has at once."""

    kind: str
    concurrency: int

    @property
    def title(self) -> str:
        return f"{name_of(self.kind)} x{self.concurrency}"


@dataclass(frozen=True)
class Place:
    """The sink's address, and the processor for a client; None if there is only one processor."""

    url: str
    cpu: int | None

    def run(self, client: Client, files: Path) -> Used:
        """One run of one client over all files of a list. Ends the program if a file is missing or came twice."""
        self._counts()
        words = [client.kind, "--url", self.url, "--concurrency", str(client.concurrency), "--files", str(files)]
        used: Used = json.loads(_python("upload_client.py", self.cpu, *words).stdout)
        counts = self._counts()
        wanted = len(json.loads(files.read_bytes()))
        if not counts["uploads"] == counts["names"] == wanted:
            raise SystemExit(f"{client.title}: {counts} instead of {wanted} uploads")
        return {**used, **counts, "rate": wanted / used["took_s"], "cpu_ms": 1000 * used["cpu_s"] / wanted}

    def _counts(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/counts", timeout=10.0) as answer:  # noqa: S310 - our own sink
            return json.load(answer)  # type: ignore[no-any-return]


def _words(program: str, cpu: int | None, *words: str) -> list[str]:
    return [sys.executable, str(HERE / program), *words, *([] if cpu is None else ["--cpu", str(cpu)])]


def _python(program: str, cpu: int | None, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CLOUDINARY_", "AWS_"))}
    return subprocess.run(  # noqa: S603
        _words(program, cpu, *words), stdout=subprocess.PIPE, env=environment, check=True, timeout=TIMEOUT_S
    )


@contextlib.contextmanager
def sink(latency_s: float, program: str = "upload_sink.py") -> Iterator[Place]:
    """A running sink, on another processor than the clients if there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    cpu, own = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    words = _words(program, own, "--latency", str(latency_s))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101
        try:
            yield Place(f"http://127.0.0.1:{int(process.stdout.readline())}", cpu)
        finally:
            process.terminate()


def make_files(folder: Path, count: int, size: int) -> list[tuple[str, int, str]]:
    """Different files of pseudo-random bytes: path, size and MD5 of each."""
    made = []
    same = os.urandom(size)
    for number in range(count):
        content = number.to_bytes(8, "big") + same[8:]
        path = folder / f"{size}-{number}.png"
        path.write_bytes(content)
        made.append((str(path), size, hashlib.md5(content, usedforsecurity=False).hexdigest()))
    return made


def measure(place: Place, clients: Sequence[Client], files: Path, rounds: int) -> dict[Client, list[Used]]:
    """Every client once in each round. Each round begins with another client."""
    found: dict[Client, list[Used]] = {client: [] for client in clients}
    for number in range(rounds):
        first = number % len(clients)
        for client in (*clients[first:], *clients[:first]):
            found[client].append(place.run(client, files))
    return found


def medians(found: dict[Client, list[Used]]) -> dict[Client, Used]:
    return {client: {key: median(one[key] for one in runs) for key in runs[0]} for client, runs in found.items()}


def lines(usual: dict[Client, Used], many: dict[Client, Used], large: dict[Client, Used]) -> Iterator[dict[str, Any]]:
    """The lines: ours at each concurrency compared with the SDK, at its best or at the same concurrency."""
    best = max((client for client in usual if client.kind == "sdk"), key=lambda client: usual[client]["rate"])
    for ours in (client for client in usual if client.kind == "ours"):
        peer = Client("sdk", ours.concurrency)
        yield _line("rate", "uploads/s", ours, usual[ours]["rate"], best, usual[best]["rate"])
        yield _line("cpu", "ms/upload", ours, usual[ours]["cpu_ms"], best, usual[best]["cpu_ms"])
        for name, table in (("memory", usual), (f"memory_{GROWTH}x_files", many), (f"memory_{GROWTH}x_size", large)):
            yield _line(name, "MiB", ours, table[ours]["peak_bytes"] / MIB, peer, table[peer]["peak_bytes"] / MIB)
        yield _line("connections", "connections", ours, usual[ours]["connections"], peer, usual[peer]["connections"])


def _line(name: str, unit: str, ours: Client, value: float, peer: Client, peers: float) -> dict[str, Any]:
    return {
        "name": f"upload.{name}.{ours.concurrency}",
        "ratio": round(value / peers, 3),
        "value": round(value, 2),
        "unit": unit,
        "peer": peer.title,
    }


def table(usual: dict[Client, Used], many: dict[Client, Used], large: dict[Client, Used]) -> Iterator[str]:
    """The table for people: every client with its figures."""
    more = (f"x{GROWTH} files", f"x{GROWTH} size")
    yield f"{'':24}{'rate':>9}{'CPU each':>10}{'peak':>9}{more[0]:>10}{more[1]:>10}{'connections':>13}"
    yield f"{'':24}{'1/s':>9}{'ms':>10}{'MiB':>9}{'MiB':>10}{'MiB':>10}"
    for client, used in usual.items():
        peaks = [one[client]["peak_bytes"] / MIB for one in (usual, many, large)]
        yield (
            f"{client.title:24}{used['rate']:9.0f}{used['cpu_ms']:10.2f}"
            f"{peaks[0]:9.1f}{peaks[1]:10.1f}{peaks[2]:10.1f}{used['connections']:13.0f}"
        )


def listed(path: Path, files: Iterable[tuple[str, int, str]]) -> Path:
    path.write_text(json.dumps(list(files)), encoding="utf-8")
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=160, help="files in each run")
    parser.add_argument("--size", type=int, default=1_500_000, help="bytes of a file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until the sink answers")
    parser.add_argument(
        "--concurrency", type=int, nargs="+", default=[8, 32], help="uploads at once, threads of the SDK"
    )
    return parser.parse_args()


def main() -> None:
    given = _options()
    clients = [Client(kind, concurrency) for concurrency in given.concurrency for kind in ("sdk", "ours")]
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name, sink(given.latency) as place:
        folder = Path(name)
        files = make_files(folder, given.files, given.size)
        larger = make_files(folder, max(given.concurrency), GROWTH * given.size)
        usual = medians(measure(place, clients, listed(folder / "usual.json", files), given.rounds))
        many = medians(measure(place, clients, listed(folder / "many.json", files * GROWTH), 1))
        large = medians(measure(place, clients, listed(folder / "large.json", larger), 1))
    for line in lines(usual, many, large):
        print(json.dumps(line))
    print("\n".join(table(usual, many, large)), file=sys.stderr)


if __name__ == "__main__":
    main()
