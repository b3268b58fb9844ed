"""`token`: gives apps tokens of their own, with a label and a right. A running daemon picks up each change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from comfyledger.cli.base import Group, json_option
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.terminal import clock, say, say_aside, say_json, say_table

if TYPE_CHECKING:
    from pathlib import Path

    from comfyledger.settings import Settings

RIGHTS = ("read", "submit_configured", "submit", "operate", "admin")
"""As in `server.tokens`; each right includes those before it."""


_SEES = {True: "all labels", False: "its own"}
_VALID = {True: "all boxes", False: "this box"}


@click.group(cls=Group)
def token() -> None:
    """Make, list, replace and revoke the tokens of apps."""


@token.command(name="list")
@running_config_option
@json_option
@click.pass_context
def list_(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """List the labels that have a token; the tokens themselves are not kept."""
    from comfyledger.cli.named_tokens import listed

    settings = settings_of(ctx, config_path)
    found, box = listed(settings), settings.box_name
    if as_json:
        fields = ("label", "right", "read_all", "made_at")
        at = [{"valid_at": "fleet" if is_fleets else box} if box else {} for _, is_fleets in found]
        facts = [{field: getattr(one, field) for field in fields} for one, _ in found]
        say_json([one | where for one, where in zip(facts, at, strict=True)])
        return
    rows = [
        (one.label, one.right, _SEES[one.read_all], clock(one.made_at * 1000), *([_VALID[is_fleets]] if box else []))
        for one, is_fleets in found
    ]
    say_table(("LABEL", "RIGHT", "SEES", "MADE", *(["VALID AT"] if box else [])), rows)


@token.command()
@click.argument("label")
@click.option("--right", type=click.Choice(RIGHTS), default="submit", show_default=True, help="What the token may do.")
@click.option("--read-all", is_flag=True, help="It sees the batches of all labels, not only of LABEL.")
@running_config_option
@json_option
@click.pass_context
def add(ctx: click.Context, label: str, right: str, read_all: bool, config_path: Path | None, as_json: bool) -> None:
    """Make a token for LABEL and print it; it is never shown again. In a fleet it is valid at all boxes."""
    from comfyledger.cli.named_tokens import changed
    from comfyledger.server import tokens

    def added(path: Path) -> str:
        return tokens.add(path, label, right, time.time(), read_all=read_all)  # type: ignore[arg-type]

    _say(label, changed(settings_of(ctx, config_path), label, added, is_new=True), as_json)


@token.command()
@click.argument("label", required=False)
@click.option("--file-urls", is_flag=True, help="Replace no token, but the key of file addresses and sessions.")
@running_config_option
@json_option
@click.pass_context
def rotate(ctx: click.Context, label: str | None, file_urls: bool, config_path: Path | None, as_json: bool) -> None:
    """Replace the token of LABEL, or without LABEL the daemon's own token.

    The old token and the connections that use it end at once. The command line and the Python client find the daemon's
    own token by themselves. With --file-urls, every file_url and every session of the web page that
    began so far ends instead.
    """
    from comfyledger.cli.named_tokens import changed
    from comfyledger.server import tokens

    settings = settings_of(ctx, config_path)
    if file_urls:
        _rotate_file_urls(settings, label, as_json)
    elif label is None:
        tokens.make_token(settings.token_path)
        say_json({"file": str(settings.token_path)}) if as_json else say(f"The new token is in {settings.token_path}.")
    else:
        _say(label, changed(settings, label, lambda path: tokens.rotate(path, label, time.time())), as_json)


def _rotate_file_urls(settings: Settings, label: str | None, as_json: bool) -> None:
    from comfyledger.cli.named_tokens import rotate_salt

    if label is not None:
        raise click.UsageError("--file-urls replaces the key of all file addresses; give no LABEL.")
    rotate_salt(settings)
    say_json({"file": str(settings.file_urls_path)}) if as_json else say(
        "All file addresses that were given out so far have ended."
    )


@token.command()
@click.argument("label")
@running_config_option
@json_option
@click.pass_context
def revoke(ctx: click.Context, label: str, config_path: Path | None, as_json: bool) -> None:
    """Revoke the token of LABEL and close its connections. Its batches continue."""
    from comfyledger.cli.named_tokens import changed
    from comfyledger.server import tokens

    changed(settings_of(ctx, config_path), label, lambda path: tokens.revoke(path, label))
    say_json({"label": label}) if as_json else say(f"The token of {label} is no longer valid.")


def _say(label: str, made: str, as_json: bool) -> None:
    if as_json:
        say_json({"label": label, "token": made})
        return
    say_aside(f"The token of {label}. It is never shown again: the daemon keeps only its digest.")
    say(made, whole=True)
