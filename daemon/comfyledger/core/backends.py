"""Names of backends, and the rows about those that were added while the daemon runs. Those of the configuration have no
row."""

from __future__ import annotations

import msgspec


class BackendRow(msgspec.Struct, frozen=True, gc=False):
    """A ComfyUI that a client added, by its name. The row of one that was removed stays, and is not `present`.

    `url` has no userinfo.
    """

    name: str
    url: str
    tags: tuple[str, ...] = ()
    ttl_s: int = 0
    """Seconds after which it is removed unless it is added again; 0 for none."""
    queue_depth: int = 0
    """As `[comfyui.NAME] queue_depth`: 0 leaves it to the daemon."""
    present: bool = True


def box_of(backend: str) -> str:
    """The box of a fleet that a backend belongs to, by the name of the backend: `north` of `north.main`. Empty without
    a fleet."""
    box, dot, _ = backend.partition(".")
    return box if dot else ""
