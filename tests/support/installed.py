"""What is installed does not change while tests run, so its metadata is read once and not for each daemon."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from comfyledger import plugins
from comfyledger.plugin_api import GROUP


def read_once() -> None:
    """For all daemons of this process, and of those forked from it."""
    found = cache(entry_points)
    found(group=GROUP)
    vars(plugins)["entry_points"] = found
