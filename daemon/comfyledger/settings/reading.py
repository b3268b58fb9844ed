"""Reads the configuration: the file, then the environment, then the command line; the later one overrides. Reads the
disk once. The result says where the value of each key comes from.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from comfyledger.settings.completing import complete
from comfyledger.settings.converting import convert
from comfyledger.settings.environment import merge
from comfyledger.settings.mistakes import Invalid, Mistake
from comfyledger.settings.sections import Settings


class Read(msgspec.Struct, frozen=True):
    """Settings as far as they can be used, and the mistakes. `set_by`: the keys (`door.port`) that are not at their
    default, each with `file`, `command line` or its variable.
    """

    settings: Settings
    mistakes: tuple[Mistake, ...]
    set_by: dict[str, str]

    def raise_mistakes(self) -> None:
        """Raises Invalid if there are mistakes."""
        if self.mistakes:
            raise Invalid(self.settings.source or "The configuration", self.mistakes)


def load(path: Path | None, state_dir: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read a configuration file, or use the defaults. Raises Invalid with all mistakes and their places.

    The state folder is `state_dir`, else what file or environment set, else COMFYLEDGER_STATE_DIR, else the user's own.
    """
    read = examine(path, state_dir, environ)
    read.raise_mistakes()
    return read.settings


def examine(path: Path | None, state_dir: Path | None = None, environ: Mapping[str, str] | None = None) -> Read:
    """The same, with the mistakes returned. Raises Invalid for a file that cannot be read at all."""
    environ = os.environ if environ is None else environ
    raw = _parsed(path) if path is not None else {}
    set_by = dict.fromkeys(_leaves(raw), "file")
    mistakes: list[Mistake] = []
    set_by |= merge(raw, environ, mistakes)
    settings = convert(raw, mistakes)
    if state_dir is not None:
        set_by["state_dir"] = "command line"
        settings = replace(settings, state_dir=str(state_dir.expanduser().absolute()))
    elif not settings.state_dir and environ.get("COMFYLEDGER_STATE_DIR"):
        set_by["state_dir"] = "COMFYLEDGER_STATE_DIR"
        settings = replace(settings, state_dir=environ["COMFYLEDGER_STATE_DIR"])
    base = path.resolve().parent if path is not None else Path.cwd()
    settings = complete(settings, base, mistakes)
    return Read(replace(settings, source=str(path or "")), tuple(mistakes), set_by)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        mistake = Mistake("", f"It cannot be read: {error.strerror}.", "Give the path of an existing file.")
        raise Invalid(str(path), [mistake]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(str(path), [Mistake("", f"It is not TOML: {error}.", "See https://toml.io.")]) from error


def _leaves(table: Mapping[str, Any], path: str = "") -> list[str]:
    """The paths of all values in a table."""
    found: list[str] = []
    for name, value in table.items():
        where = f"{path}.{name}" if path else name
        found += _leaves(value, where) if isinstance(value, dict) else [where]
    return found
