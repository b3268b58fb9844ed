"""The command line as a whole: its global options, its commands, and what its exit codes mean.

A command is imported when it is called. Help shows the sentences of the table below, so that it imports none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from comfyledger import __version__
from comfyledger.cli.base import EXIT_CODES, Group, Reach, json_option

EPILOG = "\b\nExit codes:\n" + "\n".join(
    textwrap.fill(f"  {code:<4} {meaning}", 76, subsequent_indent=" " * 7) for code, meaning in EXIT_CODES.items()
)

SECTIONS: Final = {
    "Batches and images": {
        "submit": "Ask for images of CHARACTER for USERNAME.",
        "watch": "Show batches live until each is settled; without BATCH, all open ones.",
        "open": "Open the web page in a browser, signed in.",
        "status": "Show what is open, what is paused and why, and whether ComfyUI and stores work.",
        "batches": "List batches, newest first.",
        "images": "List images with their state, and where they are or why they are not stored.",
        "cancel": "Cancel what is not rendered yet, of a batch or of some of its images.",
        "retry": "Retry what failed, was parked or is held, under the same numbers.",
        "review": "Approve, reject or rate images, or take that back.",
        "priority": "Make a batch more or less urgent.",
        "pause": "Start no new work in SCOPE.",
        "resume": "Undo a pause, or let a held batch continue.",
        "input": "Add files for workflows to load, list them, or give them up.",
    },
    "What happened": {
        "log": "Show the events of the log.",
        "explain": "Show the history of an image, what is still owed, and why it waits.",
        "recipe": "Show what made an image: workflow, inputs, seed, run, ComfyUI and times.",
        "export": "Write events with their texts, or images, for other programs.",
    },
    "Stores": {
        "import": "Continue each series above the highest number that STORE holds.",
        "recover": "Retry what is parked or failed, and restore what stores have lost.",
        "forget": "Erase prompts, inputs, graphs, error texts and files for good.",
    },
    "The ledger": {
        "audit": "Compare log, tables, texts, spool, inputs and stores with each other.",
        "replay": "Compute the tables again from the log, to look at, compare or replace them.",
        "backup": "Copy the ledger into FILE, or into FOLDER under a name with date and position.",
        "restore": "Restore the ledger from a backup FILE, or with --accept-loss from its remains.",
    },
    "ComfyUI": {
        "backends": "List the ComfyUIs: state, version, prompts there, and what each has done.",
        "drain": "Pause a ComfyUI, and show what it still has.",
        "move": "Pause a ComfyUI, and give the prompts that it has to others.",
        "backend": "Add a ComfyUI to the running daemon, or remove one that was added.",
    },
    "The daemon": {
        "run": "Run the daemon until SIGTERM or Ctrl-C.",
        "config": "Check the configuration, print it, or print an example.",
        "token": "Make, list, replace and revoke the tokens of apps.",
        "doctor": "Check configuration, disks, clock, ComfyUI, stores, plugins and daemon.",
        "fleet": "Share one log with other boxes, and see who takes part.",
        "systemd": "Print, install or remove systemd units that run the daemon as a service.",
        "workflow": "Check workflows, print their API format, or add one to the configuration.",
        "characters": "List the characters that have defaults, and what ComfyUI lacks for them.",
        "webhook": "Have events delivered to web addresses, and see what was delivered.",
        "schema": "Print the JSON Schema of all messages, or other documents that tools read.",
    },
    "To try it out": {
        "demo": "Render four batches at the same time, one of them a video, and check every number and file.",
        "sim": "Run a stand-in for ComfyUI or a store; see `comfyledger sim comfyui --help`.",
    },
}
"""The commands in the groups of the help, each with the first sentence of its own help."""

_PLACES: Final = {
    "open": ("open_page", "open_page"),
    "token": ("tokens", "token"),
    "input": ("inputs", "inputs"),
    **{name: ("backends", name) for name in ("drain", "move")},
    "import": ("import_store", "import_store"),
    **{name: ("batches", name) for name in ("images", "cancel", "retry", "priority", "pause", "resume")},
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
    help="The daemon's state folder, which holds its socket and token. Default: $COMFYLEDGER_STATE_DIR, else "
    "~/.local/state/comfyledger.",
)
@click.option(
    "--url",
    help="The daemon's address, if it is not in the state folder: http://HOST:PORT or unix:/PATH. The token is sent "
    "to it.",
)
@json_option
@click.pass_context
def cli(ctx: click.Context, state_dir: Path | None, url: str | None, as_json: bool) -> None:
    """The ledger of a ComfyUI server: each number is given once, each image is stored or explained by the log."""
    ctx.obj = Reach(state_dir, url)
