"""Boxes of a fleet as real processes: each a house with a stand-in, a daemon and a replica; one folder of images."""

from __future__ import annotations

from pathlib import Path

from comfyledger.ledger.shared.keys import Keys
from comfyledger.maintenance import fleet
from support.processes import QUICK, SWEEP_S, House

SOON = {
    "comfyledger.workers.fleet.membership.BEAT_S": 0.2,
    "comfyledger.workers.fleet.membership.LOOK_S": 0.2,
    "comfyledger.workers.webhooks.turn.TURN_S": 4.0,
    "comfyledger.workers.webhooks.turn.SAFE_S": 2.0,
    "comfyledger.ledger.shared.log.TURN_S": 60.0,
}
"""How soon a box is missed, and how long it may take on a busy machine."""


class BoxHouse(House):
    """`folder`: of the whole fleet; the box has one of its own below it."""

    def __init__(self, folder: Path, name: str, address: str) -> None:
        own = folder / name
        own.mkdir()
        super().__init__(own)
        self.name, self.address, self.images = name, address, folder / "images"
        self.daemon.constants = {**QUICK, **SOON}

    def join(self, first: BoxHouse | None = None) -> None:
        """Make the replica: of a new fleet, or of that of another box."""
        self.state.mkdir(mode=0o700)
        ledger = self.state / "ledger.db"
        if first is None:
            fleet.init(self.address, ledger, lambda *_: None)
            return
        carried = Keys.beside(first.state / "ledger.db").oldest_key()
        fleet.join(self.address, ledger, lambda *_: None, self.name, carried)

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        text = f"""
            state_dir = "{self.state}"
            {config}
            [ledger]
            shared = "{self.address}"
            [box]
            name = "{self.name}"
            [door]
            port = 0
            [comfyui.main]
            url = "{url or self.comfyui.url}"
            queue_depth = {depth}
            sweep_interval_s = {SWEEP_S}
            {comfyui}
            [stores.folder]
            kind = "folder"
            root = "{self.images}"
            shared = true
        """
        (self.folder / "config.toml").write_text(text)
