"""A folder store on a real folder, for the tests of what it holds, refuses and leaves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from comfyledger.plugin_api import Deposit, Outcome, Series
from comfyledger_folder.store import FolderStore

NAME = "Areg/characters/opal-fever/images/Areg_opal-fever_image_1"
SERIES = Series(folder="Areg/characters/opal-fever/images", stem="Areg_opal-fever_image_")


class Bench:
    """A store on a real folder, a spool beside it, and what a test needs to see of both."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "nas" / "store"
        self.state = folder / "state"
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.store = self.opened()

    def opened(self) -> FolderStore:
        return FolderStore.open("main", {"root": str(self.root)}, self.state)

    def deposit(self, content: bytes = b"ours", public_id: str = NAME, **other: Any) -> Deposit:
        digest = hashlib.md5(content).hexdigest()
        path = self.spool / digest
        path.write_bytes(content)
        known: dict[str, Any] = {
            "image_id": "B1/1",
            "public_id": public_id,
            "extension": "png",
            "path": path,
            "sha256": hashlib.sha256(content).hexdigest(),
            "md5": digest,
            "size_bytes": len(content),
            "first_attempt": True,
        }
        return Deposit(**{**known, **other})

    async def put(self, content: bytes = b"ours", public_id: str = NAME, **other: Any) -> Outcome:
        return await self.store.put(self.deposit(content, public_id, **other))

    def place(self, path: str, content: bytes = b"foreign") -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)
        return self.root / path

    def files(self) -> dict[str, bytes]:
        """Every file but the mark."""
        found = (path for path in self.root.rglob("*") if path.is_file() and path.name != ".comfyledger")
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}
