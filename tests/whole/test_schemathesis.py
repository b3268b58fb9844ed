"""Schemathesis against a running daemon: whatever it makes of `/openapi.json`, each answer is one that the document
describes, what does not fit it is refused, and nothing is answered with 500."""

from __future__ import annotations

import asyncio
import sys
import textwrap

from support.processes import House

CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
"""All but one: a request may fit the document and be refused, because there is no batch of that id, for example."""
BOUNDS = ("--max-examples", "6", "--seed", "1", "--no-shrink", "--request-timeout", "30")
OUTPUT = ("--no-color", "--generation-database", "none", "--phases", "examples,coverage,fuzzing")


async def test_every_answer_is_one_that_the_document_describes(house: House) -> None:
    await house.begin("[limits]\nquantity_max = 4")
    await explore(house, "--exclude-path", "/v1/pause")  # batches end while nothing is paused
    await explore(house, "--include-path", "/v1/pause")
    assert house.daemon.errors() == []


async def explore(house: House, *which: str) -> None:
    """Run Schemathesis as a person would. It exits with 0 if it found nothing."""
    where = (f"{house.daemon.url}/openapi.json", "--header", f"Authorization: Bearer {house.daemon.token}")
    words = ("-m", "schemathesis.cli", "run", *where, *which, *CHECKS, *BOUNDS, *OUTPUT)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=house.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(240):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [textwrap.shorten(line, 300) if line.strip() else "" for line in said.decode(errors="replace").splitlines()]
    assert process.returncode == 0, "\n".join(lines)
