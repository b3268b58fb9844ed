"""Commands beside a house, whose daemon may run or not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from click.testing import CliRunner

from comfyledger.cli.main import cli
from support.processes import House


async def command(house: House, *words: str) -> dict[str, Any]:
    """The command line in a thread of its own; what it prints."""
    where = ["--state-dir", str(house.state)]
    config = [] if words[0] == "recover" else ["--config", str(house.folder / "config.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, cli, [*where, *words, *config, "--json"])
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    return said
