"""What the daemon says: a traceback tells where, and nothing of what was in the variables there."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from comfyledger import logs
logs.configure(level="info", layout="{layout}")
def deep(typed):
    raise ValueError("broken")
try:
    deep("a " + "secret " + "coat")
except ValueError:
    structlog.get_logger("x").exception("thing.died")
"""


@pytest.mark.parametrize("layout", ["json", "console"])
def test_a_traceback_shows_where_and_no_variable(layout: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(layout=layout)]
    said = subprocess.run(program, check=True, capture_output=True, text=True, timeout=30).stderr
    assert "thing.died" in said
    assert "ValueError" in said
    assert "deep" in said
    assert "a secret coat" not in said
