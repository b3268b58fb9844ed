"""The first lines at a terminal: addresses, ComfyUI and stores, and the commands to run next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from comfyledger.plugins import OpenedStore
from comfyledger.server.listen import Entrances

LABEL_CELLS: Final = 10
MEANWHILE: Final = "Start it, or name another one in [comfyui.{}] url; batches wait until then."


class ComfyUISeen(msgspec.Struct, frozen=True):
    """The state of a ComfyUI at the start. `trouble`: why it does not answer, empty if it does."""

    name: str
    url: str
    version: str = ""
    trouble: str = ""


def greeting(
    version: str,
    server: Entrances,
    comfyui: Iterable[ComfyUISeen],
    stores: Mapping[str, OpenedStore],
    unfit: Mapping[str, str],
    command: str,
    width: int,
) -> list[str]:
    """Lines of at most `width` characters, wrapped between words. A longer path stays whole.

    `unfit`: configured workflows that ComfyUI would refuse, with the reason. `command`: the command line that finds
    this daemon, with --state-dir if it needs that.
    """
    said = [
        ("server", f"{server.url} and, on this machine, {server.socket}"),
        *(("ComfyUI", _of_comfyui(one)) for one in comfyui),
        *(("store", _of_store(one)) for one in stores.values()),
        *(("workflow", f"{name} does not fit ComfyUI. {why}") for name, why in unfit.items()),
        ("next", f'{command} submit Areg "Opal Fever" --watch'),
        ("", f"{command} status"),
        ("end", "Ctrl-C; open batches continue at the next start."),
    ]
    lines = [f"comfyledger {version} is ready."]
    for label, text in said:
        lines += _wrapped(label, text, width)
    return lines


def _of_comfyui(seen: ComfyUISeen) -> str:
    if seen.trouble:
        return f"{seen.name} at {seen.url}. {seen.trouble} {MEANWHILE.format(seen.name)}"
    return f"{seen.name} at {seen.url}" + (f", version {seen.version}" if seen.version else "")


def _of_store(store: OpenedStore) -> str:
    if store.store is None:
        return f"{store.name}: cannot be used: {store.problem}"
    return f"{store.name}: {store.identity}" + (f". {store.caveat}" if store.caveat else "")


def _wrapped(label: str, text: str, width: int) -> Sequence[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"  {label:<{LABEL_CELLS}}",
        subsequent_indent=" " * (LABEL_CELLS + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
