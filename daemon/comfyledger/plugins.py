"""Finding plugins and making stores of them. A plugin that cannot be used is a status with a reason, not a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pluggy
import structlog
from msgspec.structs import replace

from comfyledger import plugin_api
from comfyledger.guarded import Guarded
from comfyledger.plugin_api import GROUP, Store, StoreKind, StoreTrouble

log = structlog.get_logger("comfyledger.plugins")


class OpenedStore(msgspec.Struct, frozen=True):
    """A configured store: usable, or with the problem that keeps it from being used.

    `waiting` is one that must find something out before its first use and could not yet; it is asked again.
    """

    name: str
    kind: str
    identity: str = ""
    store: Store | None = None
    problem: str = ""
    waiting: Store | None = None
    died: dict[str, int] = {}
    """How often its plugin died, by call; one count for the whole life of a configured store."""

    @property
    def guarded(self) -> Guarded | None:
        """The store as it is to be asked, if it is usable."""
        return None if self.store is None else Guarded(self.name, self.store, self.died)

    async def close(self) -> None:
        """Close what was opened. Raises nothing."""
        store = self.store or self.waiting
        if store is not None:
            await Guarded(self.name, store, self.died).close()


def store_kinds() -> dict[str, StoreKind]:
    """Every kind of store that installed plugins bring. One that fails is logged and left out, and no other with it."""
    plugin_manager = pluggy.PluginManager(GROUP)
    plugin_manager.add_hookspecs(plugin_api)
    for name in sorted({entry.name for entry in entry_points(group=GROUP)}):
        try:
            plugin_manager.load_setuptools_entrypoints(GROUP, name)
        except (Exception, SystemExit):
            log.exception("plugin.broken", plugin=name)
    kinds: dict[str, StoreKind] = {}
    for name, plugin in plugin_manager.list_name_plugin():
        others = [other for other in plugin_manager.get_plugins() if other is not plugin]
        try:
            for brought in plugin_manager.subset_hook_caller("comfyledger_stores", others)():
                kinds.update({str(kind): made for kind, made in dict(brought).items()})
        except (Exception, SystemExit):
            log.exception("plugin.broken", plugin=name)
    return kinds


def open_stores(
    kinds: Mapping[str, StoreKind], configured: Mapping[str, Mapping[str, Any]], state_dir: Path
) -> dict[str, OpenedStore]:
    """A store for each section `[stores.NAME]`, in the order of the configuration; `prepared` makes them usable."""
    return {name: _open(kinds, name, options, state_dir) for name, options in configured.items()}


def _open(kinds: Mapping[str, StoreKind], name: str, options: Mapping[str, Any], state_dir: Path) -> OpenedStore:
    kind = str(options["kind"])
    if kind not in kinds:
        known = ", ".join(sorted(kinds)) or "none"
        return OpenedStore(name, kind, problem=f"No plugin brings stores of kind {kind!r} (known: {known}).")
    rest = {key: value for key, value in options.items() if key != "kind"}
    try:
        store = kinds[kind](name, rest, state_dir)
        return OpenedStore(name, kind, waiting=store, problem="It is not prepared yet.")
    except (Exception, SystemExit) as error:
        log.warning("store.unusable", store=name, kind=kind, error=str(error))
        return OpenedStore(name, kind, problem=str(error) or type(error).__name__)


async def prepared(opened: OpenedStore, timeout_s: float) -> OpenedStore:
    """The store as it can be used from now on, or with the reason why it cannot be used yet."""
    if opened.waiting is None:
        return opened
    store = Guarded(opened.name, opened.waiting, opened.died)
    try:
        async with asyncio.timeout(timeout_s):
            await store.prepare()
        identity = store.identity
    except StoreTrouble as trouble:
        return replace(opened, problem=trouble.fault.text)
    except TimeoutError:
        return replace(opened, problem=f"It did not answer within {timeout_s:g} s.")
    return replace(opened, identity=identity, store=opened.waiting, waiting=None, problem="")
