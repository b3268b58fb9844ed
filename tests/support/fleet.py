"""A house with several stand-ins for ComfyUI, each with a folder and an output folder of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from support.processes import SWEEP_S, House, StandIn


class Fleet(House):
    """`comfyui` is the first of the stand-ins."""

    def __init__(self, folder: Path, names: Iterable[str] = ("a", "b"), seconds_per_image: float = 0.0) -> None:
        super().__init__(folder)
        self.standins = {name: self._made(folder / name, seconds_per_image) for name in names}
        self.comfyui = next(iter(self.standins.values()))
        self.keys = ""
        """Further keys of the section of each stand-in."""

    @property
    def every_standin(self) -> list[StandIn]:
        return list(self.standins.values())

    @property
    def backend(self) -> str:
        return next(name for name, one in self.standins.items() if one is self.comfyui)

    @staticmethod
    def _made(folder: Path, seconds_per_image: float) -> StandIn:
        folder.mkdir()
        return StandIn(folder, seconds_per_image)

    async def begin_all(
        self,
        depth: int = 2,
        config: str = "",
        tags: Mapping[str, list[str]] | None = None,
        lacking: Mapping[str, list[str]] | None = None,
    ) -> None:
        """Start everything. `tags`: of some stand-ins. `lacking`: the node classes that some have not."""
        for one in self.standins.values():
            await one.begin()
        for name, classes in (lacking or {}).items():
            self.standins[name].control(missing_classes=classes)
        self.configure_for(self.standins, depth, config, tags)
        await self.daemon.begin()

    def configure_for(
        self, names: Iterable[str], depth: int = 2, config: str = "", tags: Mapping[str, list[str]] | None = None
    ) -> None:
        """Write the configuration with these stand-ins."""
        sections = [
            f'[comfyui.{name}]\nurl = "{self.standins[name].url}"\nqueue_depth = {depth}\n'
            f"sweep_interval_s = {SWEEP_S}\ntags = {(tags or {}).get(name, [])}\n{self.keys}\n"
            for name in names
        ]
        head = f'state_dir = "{self.state}"\n{config}\n[door]\nport = 0\n'
        store = f'[stores.folder]\nkind = "folder"\nroot = "{self.images}"\n'
        (self.folder / "config.toml").write_text(head + "".join(sections) + store)

    def end(self) -> None:
        super().end()
        for one in self.standins.values():
            one.end()

    def rendered(self, batch_id: str) -> dict[str, bytes]:
        """Of all stand-ins. No two of them write a file of the same name: each attempt has a name of its own."""
        found: dict[str, bytes] = {}
        for one in self.standins.values():
            if (one.output / "comfyledger" / batch_id.lower()).exists():
                self.comfyui = one
                mine = super().rendered(batch_id)
                assert not mine.keys() & found.keys()
                found |= mine
        return found
