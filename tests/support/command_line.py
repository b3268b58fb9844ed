"""Commands beside a house, whose daemon may run or not."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from click.testing import CliRunner, Result

from comfyledger.cli.main import cli
from support.processes import House

_OUTPUT = threading.Lock()
"""Click's runner takes the standard output of this process, so one command runs at a time."""


async def command(house: House, *words: str) -> dict[str, Any]:
    """The command line in a thread of its own; what it prints, as a script would read it. It must end well."""
    config = (
        [] if words[0] in {"recover", "drain", "move", "import"} else ["--config", str(house.folder / "config.toml")]
    )
    result = await _ran(house, *words, *config, "--json")
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    return said


async def said(house: House, *words: str) -> str:
    """What the command line says to a person, however it ends."""
    return (await _ran(house, *words)).output


async def _ran(house: House, *words: str) -> Result:
    def run() -> Result:
        with _OUTPUT:
            return CliRunner().invoke(cli, ["--state-dir", str(house.state), *words])

    return await asyncio.to_thread(run)
