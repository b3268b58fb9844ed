"""How fast uploads to object stores are, and what they cost: our plugin compared with boto3's `upload_file`.

    python benchmarks/upload_objects.py --files 160 --size 1500000 --rounds 5

Both send the same files with the same metadata to the same bare sink on loopback, which speaks enough of S3: a real
server of the tests would take longer than the clients, and the benchmark would measure it. Each client is a process of
its own, rounds alternate, and the printed figures are medians. Prints one JSON object a line on standard output
(`name`, `ratio`, `value`, `unit`, `peer`), and a table for people on standard error.

A ratio is ours divided by boto3's; rates are compared with its best. Ours asks the server to store only if nothing has
the name; boto3 does not. `objects.memory.files` and `objects.memory.size` compare ours with itself: six times as many
files, and files of 128 MiB with files of 64 MiB, which go in parts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from upload import MIB, Client, Place, Used, listed, make_files, measure, medians, sink

MANY: Final = 6
"""With 160 files a run, this is nearly 1,000."""
LARGE_FILES: Final = 4
"""As many at once as there are files."""


def lines(usual: dict[Client, Used]) -> Iterator[dict[str, Any]]:
    """Ours at each concurrency compared with boto3, at its best or at the same concurrency."""
    best = max((client for client in usual if client.kind == "boto3"), key=lambda client: usual[client]["rate"])
    for ours in (client for client in usual if client.kind == "objects"):
        peer = Client("boto3", ours.concurrency)
        for name, key, unit, other in (
            ("rate", "rate", "uploads/s", best),
            ("cpu", "cpu_ms", "ms/upload", best),
            ("memory", "peak_mib", "MiB", peer),
            ("connections", "connections", "connections", peer),
        ):
            yield line(f"{name}.{ours.concurrency}", unit, usual[ours][key], usual[other][key], other.title)


def line(name: str, unit: str, value: float, peers: float, peer: str) -> dict[str, Any]:
    return {
        "name": f"objects.{name}",
        "ratio": round(value / peers, 3),
        "value": round(value, 2),
        "unit": unit,
        "peer": peer,
    }


def table(usual: dict[Client, Used]) -> Iterator[str]:
    """The table for people: every client with its figures."""
    yield f"{'':24}{'rate':>9}{'CPU each':>10}{'peak':>9}{'connections':>13}"
    yield f"{'':24}{'1/s':>9}{'ms':>10}{'MiB':>9}"
    for client, used in usual.items():
        yield (
            f"{client.title:24}{used['rate']:9.0f}{used['cpu_ms']:10.2f}"
            f"{used['peak_mib']:9.1f}{used['connections']:13.0f}"
        )


def measured(place: Place, clients: list[Client], files: Path, rounds: int) -> dict[Client, Used]:
    found = medians(measure(place, clients, files, rounds))
    return {client: {**used, "peak_mib": used["peak_bytes"] / MIB} for client, used in found.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=160, help="files in each run")
    parser.add_argument("--size", type=int, default=1_500_000, help="bytes of a file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until the sink answers")
    parser.add_argument("--large", type=int, default=64, help="MiB of a large file; it goes in parts above 16")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 32], help="uploads at once")
    return parser.parse_args()


def main() -> None:
    given = _options()
    clients = [Client(kind, concurrency) for concurrency in given.concurrency for kind in ("boto3", "objects")]
    ours, alone = Client("objects", given.concurrency[0]), Client("objects", LARGE_FILES)
    with (
        tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name,
        sink(given.latency, "upload_objects_sink.py") as place,
    ):
        folder = Path(name)
        files = make_files(folder, given.files, given.size)
        usual = measured(place, clients, listed(folder / "usual.json", files), given.rounds)
        many = measured(place, [ours], listed(folder / "many.json", files * MANY), 1)[ours]
        large = [
            measured(place, [alone], listed(folder / f"{size}.json", make_files(folder, LARGE_FILES, size)), 1)[alone]
            for size in (given.large * MIB, 2 * given.large * MIB)
        ]
    for one in lines(usual):
        print(json.dumps(one))
    print(json.dumps(line("memory.files", "MiB", many["peak_mib"], usual[ours]["peak_mib"], f"{given.files} files")))
    print(
        json.dumps(
            line("memory.size", "MiB", large[1]["peak_mib"], large[0]["peak_mib"], f"files of {given.large} MiB")
        )
    )
    print("\n".join(table(usual)), file=sys.stderr)


if __name__ == "__main__":
    main()
