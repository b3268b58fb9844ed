"""`sim`: a stand-in for ComfyUI or a store, with the options of `python -m comfyledger.sim`."""

from __future__ import annotations

import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    options_metavar="comfyui|cloudinary [OPTIONS]",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="")
def sim(words: tuple[str, ...]) -> None:
    """Run a stand-in for ComfyUI or a store; see `comfyledger sim comfyui --help`."""
    from comfyledger.sim.__main__ import main

    sys.exit(main(words))
