"""What every test finds as the one before it found it."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from support.installed import read_once
from support.waiting import hurry

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
"""A busy machine breaks no law: laws about time have bounds of their own."""

FOREIGN = ("COMFYLEDGER_", "CLOUDINARY_", "AWS_", "AZURE_", "GOOGLE_")
"""What a developer has set for daemons, clients and accounts of their own means nothing to a test, nor does a proxy."""
MEMORY = Path("/dev/shm")
LONG = {"crash_images", "test_benchmarks.py", "test_decide_random.py", "test_engine_machine.py", "test_fuzz.py"}
"""Beside `whole`, which has the longest tests."""
ROOM_BYTES = 4 * 1024**3
"""Several times what all tests write."""


def pytest_configure(config: pytest.Config) -> None:
    """Whatever is set and whatever runs on this machine, a test sees its own folder and what it set itself."""
    write_to_memory()
    keep_compiled_files()
    read_once()
    for name in [name for name in os.environ if name.startswith(FOREIGN) or name.lower().endswith("_proxy")]:
        del os.environ[name]
    for name in ("CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "XDG_RUNTIME_DIR"):
        os.environ.pop(name, None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in `make test &` of a script: children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    state = tempfile.TemporaryDirectory(prefix="state-of-tests-")
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name
    _show_short_tracebacks()


def write_to_memory() -> None:
    """Tests wait for no disk, unless TMPDIR names one. No test loses power; the crash images play that part."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def keep_compiled_files() -> None:
    """Or each run compiles all tests once a worker, and hundreds of processes compile the daemon."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first. They wait while the other workers compute, and none begins when the rest is done."""
    items.sort(key=lambda item: 0 if "whole" in item.path.parts else 1 if LONG & {*item.path.parts} else 2)


def pytest_collectstart() -> None:
    """Until all tests are there, nearly nothing becomes garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Thousands of tests and their modules stay until the end, so no collection of garbage need look through them."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _the_process_is_as_at_the_start() -> Iterator[None]:
    """A command that was run in this process has set the level of the log and the garbage collector for all of it."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    structlog.reset_defaults()
    _show_short_tracebacks()


@pytest.fixture
async def quick_time() -> AsyncIterator[None]:
    """For tests that wait for time limits of this process alone."""
    hurrying = asyncio.create_task(hurry())
    yield
    hurrying.cancel()


def _show_short_tracebacks() -> None:
    """Drawing every local of every frame takes a second for each exception that a test has logged."""
    *others, _ = structlog.get_config()["processors"]
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, console])
