"""What a killed daemon of an old release left with open prompts at two ComfyUIs, opened again.

`fixtures/README.md` says what is in it and how it was made.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from support.cloudinary_process import Account
from support.fleet import Fleet
from support.old_ledger import seed, unpack
from support.processes import Doomed
from support.waiting import DEADLINE_S
from support.wire_app import Frame


class OldFleet(Fleet):
    """Two stand-ins, which have what they had, and an account that has what it had."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.left: Frame = {}
        self.cloud = Account(folder)
        self.daemon = Doomed(self)

    async def unpack(self) -> None:
        """Everything runs again but the daemon."""
        self.left = unpack(self.folder, "ac55d0a")
        await self.cloud.begin()
        self.cloud.control(seed=[seed(asset) for asset in self.left["assets"].values()])
        for name, one in self.standins.items():
            await one.begin()
            self._post_again(name)

    def _post_again(self, name: str) -> None:
        """Give a stand-in what it had: prompts that had ended first, then what ran and what waited."""
        ended = [entry["prompt"] for found in self.left["history"][name] for entry in found.values()]
        queue = self.left["queue"][name]
        for _, prompt_id, graph, extra, _ in [*ended, *queue["queue_running"], *queue["queue_pending"]]:
            body = json.dumps({"prompt": graph, "prompt_id": prompt_id, "extra_data": extra}).encode()
            with urllib.request.urlopen(f"{self.standins[name].url}/prompt", body, timeout=DEADLINE_S) as answer:
                assert json.load(answer)["prompt_id"] == prompt_id

    async def reopen(self, keys: str = "") -> None:
        """Start today's daemon on it. `keys`: further ones of the section of each ComfyUI."""
        path = self.folder / "config.toml"
        text = path.read_text().replace("request_timeout_s = 60\n", f"request_timeout_s = 2\n{keys}\n")
        urls = {"CLOUD": self.cloud.url, **{name.upper(): one.url for name, one in self.standins.items()}}
        for name, url in urls.items():
            text = text.replace(f"URL_OF_{name}", url)
        path.write_text(text)
        await self.daemon.begin()

    def end(self) -> None:
        super().end()
        self.cloud.end()
