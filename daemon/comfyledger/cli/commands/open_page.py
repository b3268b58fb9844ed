"""`open`: opens the web page in a browser, signed in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import click

from comfyledger.cli.base import DONE, LABEL, Reach, json_option
from comfyledger.cli.ui.terminal import say, say_aside, say_json


@click.command("open")
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open no browser.")
@json_option
@click.pass_context
def open_page(ctx: click.Context, only_print: bool, as_json: bool) -> None:
    """Open the web page in a browser, signed in. The link that signs in works once, within a minute.

    Over SSH, and where no browser is found, it prints the link.
    """
    import asyncio

    from comfyledger.client.finding import find_daemon
    from comfyledger.client.page_link import ask_page_link

    reach = ctx.find_object(Reach)
    assert reach is not None  # noqa: S101 (made by the group)
    address = find_daemon(reach.url, None, reach.state_dir, os.environ)
    link = asyncio.run(ask_page_link(address, LABEL))
    if as_json:
        say_json(link)
    elif only_print or not _shown(link.url, os.environ):
        say(link.url)
    ctx.exit(DONE)


def _shown(url: str, environment: Mapping[str, str]) -> bool:
    """Whether a browser of this machine shows the page. If not, says how to get there."""
    import webbrowser

    if is_remote(environment):
        port = urlsplit(url).port
        say_aside(f"This is an SSH session. On your own machine, run: ssh -N -L {port}:127.0.0.1:{port} HOST")
        say_aside("Then open this address there, within a minute:")
        return False
    if not webbrowser.open(url):
        say_aside("No browser was found here. Open this address, within a minute:")
        return False
    say_aside(f"Opened {url.partition('#')[0]} in your browser.")
    return True


def is_remote(environment: Mapping[str, str]) -> bool:
    """Whether the person sits at another machine: a browser that opens here is of no use to them."""
    has_screen = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    return bool(environment.get("SSH_CONNECTION")) and not has_screen
