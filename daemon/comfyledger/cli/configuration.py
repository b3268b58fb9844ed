"""Which configuration a command uses: the one that is named, else that of the running daemon, else the defaults.

A command that opens the same stores as a running service also uses the credentials that systemd passed to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from comfyledger.settings import Settings

PROC: Final = Path("/proc")
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"

F = TypeVar("F", bound=Callable[..., Any])


def _config_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"A TOML file; `comfyledger config example` prints one. {default}",
    )


config_option = _config_option("Default: the default settings.")
running_config_option = _config_option("Default: that of the running daemon, else the default settings.")


def config_of(ctx: click.Context, config_path: Path | None) -> Path | None:
    """The file that was named; else the file of the daemon that runs on the state folder, if it has one."""
    from comfyledger.client.finding import find_config, find_state_dir

    return config_path or find_config(ctx.obj.state_dir or find_state_dir(os.environ))


def settings_of(ctx: click.Context, config_path: Path | None) -> Settings:
    """The configuration as `config_of` finds it, else the defaults. Raises Refused(config_invalid).

    From here on the credentials of a running service are available, if this user may read them.
    """
    from comfyledger import settings

    found = settings.load(config_of(ctx, config_path), ctx.obj.state_dir)
    lend_credentials(found.door_path, os.environ)
    return found


def lend_credentials(door_path: Path, environ: MutableMapping[str, str], proc: Path = PROC) -> None:
    """Name the daemon's credentials folder in an environment that names none. `door_path`: the file door.json.

    systemd passes credentials in a folder that only root and the service may read (systemd.exec(5),
    LoadCredential=). The daemon's own environment names it. Where that cannot be read, nothing changes.
    """
    if environ.get(CREDENTIALS):
        return
    try:
        pid = int(json.loads(door_path.read_bytes())["pid"])
        raw = (proc / str(pid) / "environ").read_bytes()
    except (OSError, ValueError, TypeError, KeyError):
        return
    words = dict(word.partition("=")[::2] for word in os.fsdecode(raw).split("\0"))
    folder = words.get(CREDENTIALS, "")
    if folder and "COMFYLEDGER_STATE_DIR" in words and os.access(folder, os.R_OK | os.X_OK):
        environ[CREDENTIALS] = folder
