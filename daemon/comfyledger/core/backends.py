"""The rows about backends that were added while the daemon runs. Those of the configuration have none."""

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
