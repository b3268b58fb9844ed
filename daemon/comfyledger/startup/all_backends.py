"""The ComfyUIs of the configuration and those that clients added, as one set for `Backends`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from comfyledger.core.backends import BackendRow
from comfyledger.settings import ComfyUI as Section
from comfyledger.startup.backends import Backends, Changes
from comfyledger.startup.build_comfyui import Wanted


class AllBackends:
    """Implements `RunningBackends`. `trusted`: the names under which an added one gets secrets."""

    def __init__(self, backends: Backends, configured: Mapping[str, Wanted], trusted: Collection[str]) -> None:
        self._backends = backends
        self._added: dict[str, BackendRow] = {}
        self.configure(configured, trusted)

    def configure(self, configured: Mapping[str, Wanted], trusted: Collection[str]) -> Changes:
        """Take in the sections of the configuration, beside those that were added."""
        self._configured, self._trusted = dict(configured), frozenset(trusted)
        return self._take()

    @property
    def configured(self) -> Mapping[str, str]:
        return {name: wanted.section.url for name, wanted in self._configured.items()}

    async def add(self, row: BackendRow) -> None:
        self._added[row.name] = row
        self._take()

    async def remove(self, name: str) -> None:
        if self._added.pop(name, None) is not None:
            self._take()

    def _take(self) -> Changes:
        added = {name: self._wanted(row) for name, row in self._added.items() if name not in self._configured}
        return self._backends.take({**self._configured, **added})

    def _wanted(self, row: BackendRow) -> Wanted:
        section = Section(url=row.url, tags=row.tags, queue_depth=row.queue_depth)
        return Wanted(section, is_added=True, gets_secrets=row.name in self._trusted)
