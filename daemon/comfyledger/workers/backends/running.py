"""What may be asked of the ComfyUIs that run now: those of the configuration, and those added at run time.

The ledger says which backends clients have added. `AddedBackends` reads that at the start and after each commit, counts
the times to live, and calls `add` and `remove` here, one call at a time and in the order of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from comfyledger.core.backends import BackendRow


class RunningBackends(Protocol):
    """Starts and stops ComfyUIs. It knows nothing of times to live, and writes none of the events about backends."""

    @property
    def configured(self) -> Mapping[str, str]:
        """The URL of each ComfyUI of the configuration as it is now, by name. May contain userinfo."""
        ...

    async def add(self, row: BackendRow) -> None:
        """Have a backend run with these values from now on; nothing if it does already.

        If it runs with other values, it takes these over. Another URL is another server: the prompts that were sent to
        the one before are left behind as `replaced`. Waits for no answer of the ComfyUI. A name that the configuration
        has by now stays what the configuration says.
        """
        ...

    async def remove(self, name: str) -> None:
        """End a backend that was added; nothing if there is none, or the configuration has the name.

        Its prompts are left behind as `removed`. Returns when nothing new is sent there, without waiting for what is
        cancelled there.
        """
        ...
