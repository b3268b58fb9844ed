"""Finds plugins and opens their stores. A plugin that cannot be used gives a status with a reason, not a crash."""

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
from comfyledger.plugin_api import ADDED, API_VERSION, GROUP, Store, StoreKind, StoreTrouble

log = structlog.get_logger("comfyledger.plugins")


class OpenedStore(msgspec.Struct, frozen=True):
    """A configured store: usable, or with the problem that makes it unusable.

    `waiting` is a store that is not prepared yet; preparing it is tried again.
    """

    name: str
    kind: str
    identity: str = ""
    store: Store | None = None
    problem: str = ""
    waiting: Store | None = None
    died: dict[str, int] = {}
    """How often its plugin died, by call, since the daemon started."""

    @property
    def guarded(self) -> Guarded | None:
        """The store with its calls bounded and checked, if it is usable."""
        return None if self.store is None else Guarded(self.name, self.store, self.died)

    @property
    def caveat(self) -> str:
        """Which promise does not hold for it, by its section; empty if all do. Raises nothing."""
        store = self.store or self.waiting
        return "" if store is None else Guarded(self.name, store, self.died).caveat

    async def close(self) -> None:
        """Close what was opened. Raises nothing."""
        store = self.store or self.waiting
        if store is not None:
            await Guarded(self.name, store, self.died).close()


def store_kinds() -> dict[str, StoreKind]:
    """Every kind of store that installed plugins offer. A plugin that fails is logged and left out; others stay."""
    plugin_manager = pluggy.PluginManager(GROUP)
    plugin_manager.add_hookspecs(plugin_api)
    # pluggy's own way would read the metadata of every installed distribution again for each plugin.
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            if not plugin_manager.has_plugin(entry.name):
                plugin_manager.register(entry.load(), name=entry.name)
        except (Exception, SystemExit):
            log.exception("plugin.broken", plugin=entry.name)
    kinds: dict[str, StoreKind] = {}
    for name, plugin in plugin_manager.list_name_plugin():
        others = [other for other in plugin_manager.get_plugins() if other is not plugin]
        try:
            for brought in plugin_manager.subset_hook_caller("comfyledger_stores", others)():
                kinds.update({str(kind): made for kind, made in _of_version(name, plugin, dict(brought)).items()})
        except (Exception, SystemExit):
            log.exception("plugin.broken", plugin=name)
    return kinds


def _of_version(name: str, plugin: object, brought: dict[str, StoreKind]) -> dict[str, StoreKind]:
    """The kinds of a plugin. If it was written for another version of the API, each refuses to open and says why."""
    said = getattr(plugin, "COMFYLEDGER_API", 1)
    version = said if isinstance(said, int) else 1
    if version == API_VERSION:
        return brought
    lacks = " and ".join(what for since, what in ADDED.items() if since > version)
    text = (
        f"The plugin {name} needs version {version} of the plugin API and this comfyledger has version {API_VERSION}: "
        "update comfyledger."
        if version > API_VERSION
        else f"The plugin {name} was written for version {version} of the plugin API and lacks what version "
        f"{API_VERSION} asks for: {lacks}. Update the plugin."
    )
    log.error("plugin.other_version", plugin=name, version=version, needed=API_VERSION)

    def refuse(name: str, options: Mapping[str, Any], state_dir: Path) -> Store:
        raise ValueError(text)

    return dict.fromkeys(brought, refuse)


def open_stores(
    kinds: Mapping[str, StoreKind], configured: Mapping[str, Mapping[str, Any]], state_dir: Path
) -> dict[str, OpenedStore]:
    """A store for each section `[stores.NAME]`, in the order of the configuration; `prepared` makes them usable."""
    return {name: _open(kinds, name, options, state_dir) for name, options in configured.items()}


def _open(kinds: Mapping[str, StoreKind], name: str, options: Mapping[str, Any], state_dir: Path) -> OpenedStore:
    kind = str(options["kind"])
    if kind not in kinds:
        known = ", ".join(sorted(kinds)) or "none"
        return OpenedStore(name, kind, problem=f"No plugin offers stores of kind {kind!r} (known: {known}).")
    rest = {key: value for key, value in options.items() if key != "kind"}
    try:
        store = kinds[kind](name, rest, state_dir)
        return OpenedStore(name, kind, waiting=store, problem="It is not prepared yet.")
    except (Exception, SystemExit) as error:
        log.warning("store.unusable", store=name, kind=kind, error=str(error))
        return OpenedStore(name, kind, problem=str(error) or type(error).__name__)


async def prepared(opened: OpenedStore, timeout_s: float) -> OpenedStore:
    """The store, prepared and usable, or with the reason why it cannot be used yet."""
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
