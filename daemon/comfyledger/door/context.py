"""What the door knows of the house: handed in by the composition root, shared by all connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO

import msgspec

from comfyledger import wire
from comfyledger.comfyui.client import ComfyUI
from comfyledger.core.slices import ImageRow
from comfyledger.core.values import StoreRef
from comfyledger.door.admission import Chance, Rules
from comfyledger.door.cursor import Shared
from comfyledger.door.gate import Gate
from comfyledger.door.live import Live
from comfyledger.engine import Engine
from comfyledger.errors import Refused
from comfyledger.ledger.reader import Reader
from comfyledger.metrics import Metrics
from comfyledger.notify import SILENT, Notifier
from comfyledger.plugins import OpenedStore
from comfyledger.settings import Door


class Context(msgspec.Struct, frozen=True):
    """The parts of the daemon that requests are answered from."""

    engine: Engine
    reader: Reader
    gate: Gate
    door: Door
    rules: Rules
    chance: Chance
    live: Live
    shared: Shared
    stores: Mapping[str, OpenedStore]
    comfyui: Mapping[str, ComfyUI]
    backends: Callable[[], list[wire.BackendInfo]]
    uptime_s: Callable[[], int]
    version: str
    metrics: Metrics
    pictures: Callable[[ImageRow], AbstractAsyncContextManager[BinaryIO]]
    """An open file with the bytes of a kept image. Raises Refused."""
    disks: Mapping[str, Path]
    """What is called `ledger` and `spool`, by a folder on each."""
    notifier: Notifier = SILENT

    def store_refs(self) -> tuple[StoreRef, ...]:
        """The stores of a new batch. Raises Refused(plugin_broken) if one of them could never be served, and
        Refused(store_unavailable) if one is not known well enough yet to be named."""
        for opened in self.stores.values():
            if opened.waiting is not None:
                text = f"The store {opened.name} could not be prepared yet: {opened.problem}"
                raise Refused("store_unavailable", text, hint="It is asked again; repeat the request in a moment.")
            if opened.store is None:
                hint = "Mend the plugin or remove the section from the configuration, then restart."
                raise Refused("plugin_broken", f"The store {opened.name} cannot be used: {opened.problem}", hint=hint)
        return tuple(StoreRef(opened.name, opened.identity) for opened in self.stores.values())
