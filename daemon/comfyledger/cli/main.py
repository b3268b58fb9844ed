"""The command line as a whole: its global options, its commands, and what its exit codes mean.

A command is imported when it is called. Help shows the sentences of the table below, so that it imports none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from comfyledger import __version__
from comfyledger.cli.base import EXIT_CODES, Group, Reach, json_option

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())

SECTIONS: Final = {
    "Batches and images": {
        "submit": "Ask for images of CHARACTER for USERNAME.",
        "watch": "Show batches live until each is settled; without BATCH, all that are open now.",
        "status": "Say how the daemon is, what is open, what stands still and why.",
        "batches": "List batches, newest first.",
        "images": "List images with their state, and where they are or why they are nowhere.",
        "cancel": "Give up what is not rendered yet, of a batch or of some of its images.",
        "retry": "Take up again what failed, was parked or held, under the same numbers.",
        "pause": "Give out no new work.",
        "resume": "Undo a pause, or let a held batch go on.",
    },
    "What happened": {
        "log": "Show what happened, event by event.",
        "explain": "Tell the whole story of an image: what happened, and what is owed now and why it waits.",
        "export": "Write the ledger out for other programs: events with their texts, or images.",
    },
    "Stores": {
        "import": "Take over what STORE holds already: each series goes on above its highest number.",
        "recover": (
            "Take up what is parked, failed or missing: from the spool, else from another store, else rendered again."
        ),
        "forget": "Have prompts, inputs, graphs and files go for ever.",
    },
    "The ledger": {
        "audit": "Check log, tables, texts, spool and stores against each other.",
        "replay": "Read the log again from its first event.",
        "backup": "Copy the ledger into FILE, or into FOLDER under a name with date and position.",
        "restore": "Put the ledger back from a backup FILE, or with --accept-loss from what is left of it.",
    },
    "The daemon": {
        "run": "Run the daemon until it is told to stop (SIGTERM, or Ctrl-C).",
        "config": "Look at the configuration.",
        "token": "Who may come in at the door, under which label, and what they may do.",
        "doctor": "Look at configuration, disks, clock, ComfyUI, stores, plugins and daemon.",
        "systemd": "Run as a service: put units for systemd in place, or take them away.",
        "schema": "Print the JSON Schema of every message of the websocket.",
    },
    "To try it out": {
        "demo": "Run the main job once: three batches at the same time, numbered images, a proof.",
        "sim": "Run a stand-in for ComfyUI or Cloudinary: `comfyledger sim comfyui --help` says how.",
    },
}
"""The commands in the groups of the help, each with the first sentence of its own help."""

_PLACES: Final = {
    "token": ("tokens", "token"),
    "import": ("import_store", "import_store"),
    **{name: ("batches", name) for name in ("images", "cancel", "retry", "pause", "resume")},
}
"""Module and attribute of the commands whose module below `commands` is not called like them."""


class _OnDemand(Mapping[str, click.Command]):
    """Every command by its name. A command is imported when it is first looked up."""

    def __init__(self) -> None:
        self._names = [name for sentences in SECTIONS.values() for name in sentences]
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            module, attribute = _PLACES.get(name, (name, name))
            self._loaded[name] = getattr(import_module(f"comfyledger.cli.commands.{module}"), attribute)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Commands(Group):
    """The whole command line."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.sections = {title: tuple(sentences) for title, sentences in SECTIONS.items()}
        self.commands = _OnDemand()  # type: ignore[assignment]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def sentence(self, ctx: click.Context, name: str) -> str:
        return next(sentences[name] for sentences in SECTIONS.values() if name in sentences)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The daemon's state folder, in which its socket and token are. Default: $COMFYLEDGER_STATE_DIR, else "
    "~/.local/state/comfyledger.",
)
@click.option(
    "--url",
    help="The daemon's address, if it is not the one of the state folder: http://HOST:PORT or unix:/PATH. The token "
    "is sent there.",
)
@json_option
@click.pass_context
def cli(ctx: click.Context, state_dir: Path | None, url: str | None, as_json: bool) -> None:
    """The ledger of a ComfyUI box: numbers given once, images that arrive, a log that explains each of them."""
    ctx.obj = Reach(state_dir, url)
