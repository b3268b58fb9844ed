"""Where the client and its tools are, and how a program of node runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.documents import ROOT

CLIENT = ROOT / "clients" / "typescript"
COMPILER = CLIENT / "node_modules" / ".bin" / "tsc"
HAS_SOCKET = "typeof WebSocket === 'function' ? 'yes' : 'no'"
NODE_MIN = 20
"""The oldest Node that the client supports (`engines` of package.json)."""
FLAG = "--experimental-websocket"
"""Gives Node 20 the WebSocket that Node has since version 22."""


def run(*words: str | Path, timeout_s: float = 120, cwd: Path = CLIENT) -> None:
    """Raises CalledProcessError or TimeoutExpired."""
    subprocess.run(list(map(str, words)), cwd=cwd, check=True, timeout=timeout_s)


def missing_tools() -> str:
    """What the client's tests lack on this machine; empty if they can run."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "there is no node on this machine"
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()
    return "" if int(version.removeprefix("v").partition(".")[0]) >= NODE_MIN else f"node is {version}"


def socket_flags() -> list[str] | None:
    """What makes this Node have a WebSocket; None if nothing does."""
    for flags in ([], [FLAG]):
        words = ["node", *flags, "-p", HAS_SOCKET]
        if subprocess.run(words, capture_output=True, text=True, check=False, timeout=30).stdout.strip() == "yes":
            return flags
    return None


async def node(*words: str | Path, environment: Mapping[str, str], cwd: Path = CLIENT, timeout_s: float = 120) -> None:
    """A program of node that must end well. Raises AssertionError, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        "node", *map(str, words), env={**os.environ, **environment}, cwd=cwd, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout_s):
            assert await process.wait() == 0, f"node {' '.join(map(str, words))} failed"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
