"""`systemd print|install|uninstall`: the units for the environment that the command runs from.

The commands write and remove files, ask systemd for its version, and print the commands to run next. A file that is
not ours, or was changed, is neither replaced nor removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from comfyledger.cli import systemd_units
from comfyledger.cli.base import Group
from comfyledger.cli.configuration import config_option
from comfyledger.cli.shipped import shipped
from comfyledger.cli.ui.terminal import say, say_aside

TARGETS: Final = {
    ".service": "etc/systemd/system/{}.service",
    ".timer": "etc/systemd/system/{}.timer",
    ".sysusers": "etc/sysusers.d/{}.conf",
    ".tmpfiles": "etc/tmpfiles.d/{}.conf",
}
ENABLED: Final = "comfyledger.service comfyledger-audit.timer comfyledger-backup.timer"
AFTERWARDS: Final = (
    "Then, as root:",
    "  systemd-sysusers comfyledger.conf",
    "  systemd-tmpfiles --create comfyledger.conf",
    "  systemctl daemon-reload",
    f"  systemctl enable --now {ENABLED}",
)

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    help="The root of the file system to write to, for example of an image. Default: /",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")


@click.group(cls=Group)
def systemd() -> None:
    """Print, install or remove systemd units that run the daemon as a service."""


@systemd.command("print")
@config_option
@click.pass_context
def print_units(ctx: click.Context, config_path: Path | None) -> None:
    """Print all files as `install` would write them."""
    for target, text in _rendered(config_path, ctx.obj.state_dir).items():
        _say_lines(f"# /{target}", *text.splitlines(), "")


@systemd.command()
@config_option
@root_option
@dry_run_option
@click.pass_context
def install(ctx: click.Context, config_path: Path | None, root: Path, dry_run: bool) -> None:
    """Write the units for this environment, this configuration and the folders that it names.

    Run it again after you change a folder in the configuration or move the environment.
    """
    texts = {
        root / target: systemd_units.marked(text) for target, text in _rendered(config_path, ctx.obj.state_dir).items()
    }
    foreign = [str(path) for path in texts if path.exists() and not _is_ours(path)]
    if foreign:
        raise click.ClickException(f"Somebody else wrote or changed {', '.join(foreign)}. Move them aside first.")
    for path, text in texts.items():
        say(f"{'would write' if dry_run else 'writes'} {path}")
        if not dry_run:
            with _as_root(path):
                _write(path, text)
    _say_lines(*AFTERWARDS)


@systemd.command()
@root_option
@dry_run_option
def uninstall(root: Path, dry_run: bool) -> None:
    """Remove the units that `install` wrote; state, images and the user stay."""
    for path in (root / _target(file) for file in unit_files()):
        if not path.exists():
            continue
        if not _is_ours(path):
            say_aside(f"{path} stays: it was changed, or it is not ours.")
            continue
        say(f"{'would remove' if dry_run else 'removes'} {path}")
        if not dry_run:
            with _as_root(path):
                path.unlink()
    _say_lines("Then, as root:", f"  systemctl disable --now {ENABLED}", "  systemctl daemon-reload")


def _say_lines(*lines: str) -> None:
    for line in lines:
        say(line, whole=True)


def unit_files() -> list[Path]:
    """The unit files as they are shipped."""
    return sorted(shipped("systemd").iterdir())


def _target(file: Path) -> str:
    return TARGETS[file.suffix].format(file.stem)


def _rendered(config_path: Path | None, state_dir: Path | None) -> dict[str, str]:
    """Raises Refused(config_invalid)."""
    from comfyledger import settings

    environ = {"COMFYLEDGER_STATE_DIR": str(state_dir.absolute() if state_dir else systemd_units.STATE)}
    found = settings.load(config_path, None, environ)
    program = Path(sys.executable).with_name("comfyledger")
    read = [Path(sys.prefix), Path(sys.base_prefix), *(Path(path) for path in sys.path if Path(path).is_dir())]
    place = systemd_units.place_of(found, program, read, systemd_version())
    return {_target(file): systemd_units.rendered(file.name, file.read_text("utf-8"), place) for file in unit_files()}


def systemd_version() -> int | None:
    """The version of this machine's systemd, or None."""
    try:
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    words = said.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def _is_ours(path: Path) -> bool:
    return systemd_units.is_ours(path.read_text("utf-8", errors="replace"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)


@contextmanager
def _as_root(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}. Run it as root.") from error
