"""A Python started in any folder of the source finds the standard library, not a module of ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documents import ROOT
from support.waiting import DEADLINE_S

SOURCES = ("daemon", "plugins", "tests", "benchmarks", "examples")


def modules(root: Path) -> Iterator[Path]:
    """Every module and package below a folder. A folder without `__init__.py` shadows nothing."""
    for path in sorted(root.rglob("*.py")):
        yield path.parent if path.name == "__init__.py" else path


@pytest.mark.parametrize("source", SOURCES)
def test_no_module_shadows_the_standard_library(source: str) -> None:
    taken = sys.stdlib_module_names - {"__main__"}
    found = list(modules(ROOT / source))
    assert found
    assert [str(path.relative_to(ROOT)) for path in found if path.stem in taken] == []


@pytest.mark.parametrize("folder", ["daemon/comfyledger", "daemon/comfyledger/cli/commands", "tests/cli"])
def test_a_python_started_in_a_folder_of_the_source_works(folder: str) -> None:
    code = "import inspect, tokenize, json, asyncio, secrets, signal, logging, queue, select; import aiohttp, pytest"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / folder, check=True, timeout=DEADLINE_S)
