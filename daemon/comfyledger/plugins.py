"""Finding plugins and making stores of them. A plugin that cannot be used is a status with a reason, not a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pluggy
import structlog
from msgspec.structs import replace

from comfyledger import plugin_api
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


def store_kinds() -> dict[str, StoreKind]:
    """Every kind of store that installed plugins bring. A plugin that fails to import is logged and left out."""
    plugin_manager = pluggy.PluginManager(GROUP)
    plugin_manager.add_hookspecs(plugin_api)
    try:
        plugin_manager.load_setuptools_entrypoints(GROUP)
    except Exception:
        log.exception("plugin.broken")
    kinds: dict[str, StoreKind] = {}
    for answer in plugin_manager.hook.comfyledger_stores():
        kinds.update(answer)
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
    except Exception as error:
        log.warning("store.unusable", store=name, kind=kind, error=str(error))
        return OpenedStore(name, kind, problem=str(error))


async def prepared(opened: OpenedStore, timeout_s: float) -> OpenedStore:
    """The store as it can be used from now on, or with the reason why it cannot be used yet."""
    if opened.waiting is None:
        return opened
    try:
        async with asyncio.timeout(timeout_s):
            await opened.waiting.prepare()
        identity = opened.waiting.identity
    except StoreTrouble as trouble:
        return replace(opened, problem=trouble.fault.text)
    except TimeoutError:
        return replace(opened, problem=f"It did not answer within {timeout_s:g} s.")
    except Exception as error:
        log.exception("plugin.died", store=opened.name, kind=opened.kind)
        return replace(opened, problem=f"Its plugin died: {error!r}")
    return replace(opened, identity=identity, store=opened.waiting, waiting=None, problem="")
