"""The command line of the stand-ins: `python -m comfyledger.sim comfyui --port 0 --output DIR`, `cloudinary` or
`objects`.

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
from typing import Any, Final

from comfyledger.sim.cloudinary.server import SECRET, CloudinaryOptions
from comfyledger.sim.cloudinary.server import serve as serve_cloudinary
from comfyledger.sim.comfyui.server import SimOptions, serve
from comfyledger.sim.objects.server import KEY_ID, ObjectsOptions
from comfyledger.sim.objects.server import SECRET as OBJECTS_SECRET
from comfyledger.sim.objects.server import serve as serve_objects


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stand-in that the arguments name; the exit code."""
    asked = _parser().parse_args(argv)
    try:
        asyncio.run(_RUNS[asked.kind](asked))
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


class Plain(argparse.HelpFormatter):
    """Help that looks as that of the other commands."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        super().start_section("Options" if heading == "options" else heading)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="comfyledger sim", description="Stand-ins for servers that cost a GPU or money.", formatter_class=Plain
    )
    kinds = parser.add_subparsers(dest="kind", required=True, title="Commands", metavar="COMMAND")
    comfyui = kinds.add_parser("comfyui", help="a stand-in for ComfyUI", **_looks("comfyui"))
    comfyui.add_argument("--port", type=int, default=8188, help="0 takes a free one (default: 8188)")
    comfyui.add_argument("--control-port", type=int, default=0, help="for /control and /ledger (default: a free one)")
    comfyui.add_argument("--output", type=Path, required=True, help="the folder for finished pictures")
    comfyui.add_argument("--input", type=Path, help="the folder for input files (default: beside the output folder)")
    comfyui.add_argument("--seconds-per-image", type=float, default=0.0, help="how long a picture takes (default: 0)")
    comfyui.add_argument("--disable-metadata", action="store_true", help="write no graph into the files")
    comfyui.add_argument(
        "--preview-method",
        choices=("none", "auto", "latent2rgb", "taesd"),
        default="none",
        help="previews of prompts that ask for none themselves (default: none)",
    )
    comfyui.add_argument("--without-jobs", action="store_true", help="know no /api/jobs, as earlier versions")
    _add_cloudinary(kinds.add_parser("cloudinary", help="a stand-in for Cloudinary", **_looks("cloudinary")))
    _add_objects(kinds.add_parser("objects", help="a stand-in for S3 or Google Cloud Storage", **_looks("objects")))
    return parser


def _looks(kind: str) -> dict[str, Any]:
    return {"formatter_class": Plain, "usage": f"comfyledger sim {kind} [OPTIONS]"}


def _add_cloudinary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8288, help="0 takes a free one (default: 8288)")
    parser.add_argument("--control-port", type=int, default=0, help="for /control and /ledger (default: a free one)")
    parser.add_argument("--root", type=Path, required=True, help="the folder for assets and ledger; they last")
    parser.add_argument("--folder-mode", choices=("dynamic", "fixed"), default="dynamic", help="(default: dynamic)")
    parser.add_argument("--cloud", default="demo", help="(default: demo)")
    parser.add_argument("--key", default="123456789012345", help="the API key")
    parser.add_argument("--secret", default=SECRET, help="the API secret")
    parser.add_argument("--admin-budget", type=int, default=500, help="Admin calls an hour (default: 500)")
    parser.add_argument("--file-bytes-max", type=int, default=10_485_760, help="of one file (default: 10485760)")


def _add_objects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8388, help="0 takes a free one (default: 8388)")
    parser.add_argument("--control-port", type=int, default=0, help="for /control and /ledger (default: a free one)")
    parser.add_argument("--root", type=Path, required=True, help="the folder for objects and ledger; they last")
    parser.add_argument("--dialect", choices=("s3", "gcs"), default="s3", help="(default: s3)")
    parser.add_argument("--bucket", default="pictures", help="its one bucket (default: pictures)")
    parser.add_argument("--key-id", default=KEY_ID, help="the key's id")
    parser.add_argument("--secret", default=OBJECTS_SECRET, help="the key's secret")
    parser.add_argument("--region", default="us-east-1", help="(default: us-east-1)")
    parser.add_argument("--page-max", type=int, default=1000, help="objects in an answer of a listing (default: 1000)")


def _comfyui(asked: argparse.Namespace) -> SimOptions:
    return SimOptions(
        output=asked.output,
        input=asked.input,
        port=asked.port,
        control_port=asked.control_port,
        seconds_per_image=asked.seconds_per_image,
        disable_metadata=asked.disable_metadata,
        preview_method=asked.preview_method,
        without_jobs=asked.without_jobs,
    )


def _cloudinary(asked: argparse.Namespace) -> CloudinaryOptions:
    return CloudinaryOptions(**{name: getattr(asked, name) for name in CloudinaryOptions.__struct_fields__})


def _objects(asked: argparse.Namespace) -> ObjectsOptions:
    named = {name: getattr(asked, name) for name in ObjectsOptions.__struct_fields__ if name != "buckets"}
    return ObjectsOptions(buckets=(asked.bucket,), **named)


async def _run_comfyui(asked: argparse.Namespace) -> None:
    stop = _stop_on_signal()
    async with await serve(_comfyui(asked)) as running:
        print(json.dumps({"url": running.url, "control": running.control_url}), flush=True)
        await stop.wait()


async def _run_cloudinary(asked: argparse.Namespace) -> None:
    stop = _stop_on_signal()
    async with await serve_cloudinary(_cloudinary(asked)) as running:
        told = {"url": running.url, "control": running.control_url, "cloudinary_url": running.cloudinary_url}
        print(json.dumps(told), flush=True)
        await stop.wait()


async def _run_objects(asked: argparse.Namespace) -> None:
    stop = _stop_on_signal()
    async with await serve_objects(_objects(asked)) as running:
        print(json.dumps({"url": running.url, "control": running.control_url}), flush=True)
        await stop.wait()


_RUNS: Final = {"comfyui": _run_comfyui, "cloudinary": _run_cloudinary, "objects": _run_objects}


def _stop_on_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    return stop


if __name__ == "__main__":
    sys.exit(main())
