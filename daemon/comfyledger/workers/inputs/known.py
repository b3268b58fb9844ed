"""What the ledger says of the files in the folder of inputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from comfyledger.ledger.ports import Reader

Known = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Of these digests, the ones whose bytes the ledger says are here, with their extensions."""


def known_to(reader: Reader) -> Known:
    """A file that is being removed is still here: whoever removes it does so under its lock."""

    async def known(sha256s: Sequence[str]) -> Mapping[str, str]:
        return {row.sha256: row.extension for row in await reader.these_inputs(sha256s) if row.here}

    return known


def lost_to(reader: Reader) -> Known:
    """Of these digests, the ones whose bytes the ledger says have gone from here, and that nobody has forgotten."""

    async def lost(sha256s: Sequence[str]) -> Mapping[str, str]:
        rows = await reader.these_inputs(sha256s)
        return {row.sha256: row.extension for row in rows if row.labels_before and not row.here and not row.forgetting}

    return lost
