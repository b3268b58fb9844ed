"""The command line of the stand-ins: `python -m comfyledger.sim comfyui --port 0 --output DIR`.

One JSON line on standard output says where a stand-in listens; it runs until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from comfyledger.sim.comfyui import SimOptions, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stand-in that the arguments name; the exit code."""
    asked = _parser().parse_args(argv)
    options = SimOptions(
        output=asked.output,
        port=asked.port,
        control_port=asked.control_port,
        seconds_per_image=asked.seconds_per_image,
        disable_metadata=asked.disable_metadata,
        without_jobs=asked.without_jobs,
    )
    try:
        asyncio.run(_run_comfyui(options))
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="comfyledger sim", description="Stand-ins for servers that cost a GPU or money."
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    comfyui = kinds.add_parser("comfyui", help="a stand-in for ComfyUI")
    comfyui.add_argument("--port", type=int, default=8188, help="0 takes a free one (default: 8188)")
    comfyui.add_argument("--control-port", type=int, default=0, help="for /control and /ledger (default: a free one)")
    comfyui.add_argument("--output", type=Path, required=True, help="the folder for finished pictures")
    comfyui.add_argument("--seconds-per-image", type=float, default=0.0, help="how long a picture takes (default: 0)")
    comfyui.add_argument("--disable-metadata", action="store_true", help="write no graph into the files")
    comfyui.add_argument("--without-jobs", action="store_true", help="know no /api/jobs, as earlier versions")
    return parser


async def _run_comfyui(options: SimOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    async with await serve(options) as running:
        print(json.dumps({"url": running.url, "control": running.control_url}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
