"""Who may read and write token, secrets, ledger and folders, and whether that is right. Facts in, diagnoses out. PURE.

A person's own daemon: nobody else may read or write anything. A service: its group may read, because its members may
use the daemon (docs/service.md); only its user and root may write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from comfyledger.accounts import Keeper
from comfyledger.maintenance.doctor.judge import Diagnosis

READ: Final = 0o4
WRITE: Final = 0o2
EVERYBODY: Final = "every user of this machine"


class Kept(msgspec.Struct, frozen=True):
    """A file or folder with its permissions. `folder_mode`: the mode of the folder that leads to it."""

    path: str
    mode: int
    user: int
    group: int
    folder_mode: int = 0o777


class TokenSeen(msgspec.Struct, frozen=True):
    """The token file and the state folder, None if missing. `is_passed`: systemd passes the token."""

    path: str
    auth: str
    keeper: Keeper
    file: Kept | None = None
    folder: Kept | None = None
    is_passed: bool = False


class Configured(msgspec.Struct, frozen=True):
    """The configuration file, None for the defaults. `has_secret`: it contains a secret.

    `secrets`: the existing files that it names as containing one.
    """

    keeper: Keeper
    file: Kept | None = None
    has_secret: bool = False
    secrets: tuple[Kept, ...] = ()


def others(kept: Kept, keeper: Keeper, right: int, *, is_askers: bool = False) -> str:
    """Who besides the keeper and root has a right that they should not have; empty if nobody.

    `is_askers`: the user who runs the doctor may be the owner too.
    """
    if kept.user not in {0, keeper.user} and not (is_askers and kept.user == keeper.asker):
        return f"its owner (user id {kept.user})"
    if kept.mode & right and kept.folder_mode & 0o001:
        return EVERYBODY
    if not (kept.mode >> 3 & right and kept.folder_mode & 0o010):
        return ""
    is_meant = kept.group == 0 or kept.group in keeper.private
    is_meant = is_meant or (right == READ and keeper.is_service and kept.group == keeper.group)
    return "" if is_meant else f"the group with the id {kept.group}"


def narrowed(kept: Kept, keeper: Keeper, *, is_folder: bool = False) -> str:
    """The command that gives a file the right permissions."""
    mode = ("750" if is_folder else "640") if keeper.is_service else "700" if is_folder else "600"
    is_own = kept.user in {0, keeper.user} and (not keeper.is_service or kept.group == keeper.group)
    if is_own:
        return f"chmod {mode} {kept.path}"
    owner = "root" if kept.user == 0 else keeper.name
    return f"chown {owner}:{keeper.group_name} {kept.path} && chmod {mode} {kept.path}"


# ---- configuration and secrets


def of_configuration(seen: Configured) -> list[Diagnosis]:
    """Of a valid configuration; an invalid one does not get here."""
    return [_of_file(seen), *(line for kept in seen.secrets for line in _of_secret(kept, seen.keeper))]


def _of_file(seen: Configured) -> Diagnosis:
    kept, keeper = seen.file, seen.keeper
    if kept is None:
        return Diagnosis("configuration", "ok", "There is no file: the defaults apply.")
    if who := others(kept, keeper, WRITE, is_askers=True):
        text = f"{kept.path} can be changed by {who}, who can thus control the daemon."
        return Diagnosis("configuration", "failure", text, narrowed(kept, keeper))
    if seen.has_secret and (who := others(kept, keeper, READ, is_askers=True)):
        text = f"{kept.path} contains a secret, and {who} may read it."
        return Diagnosis("configuration", "failure", text, narrowed(kept, keeper))
    return Diagnosis("configuration", "ok", f"{kept.path} can be used.")


def _of_secret(kept: Kept, keeper: Keeper) -> list[Diagnosis]:
    for right, word in ((WRITE, "changed"), (READ, "read")):
        if who := others(kept, keeper, right, is_askers=True):
            text = f"{kept.path} contains a secret and can be {word} by {who}."
            return [Diagnosis("configuration", "failure", text, narrowed(kept, keeper))]
    return []


# ---- folders and the ledger


def of_folder(section: str, kept: Kept | None, keeper: Keeper) -> list[Diagnosis]:
    """The folder of ledger, spool or thumbnails: who may write to it may replace files."""
    who = others(kept, keeper, WRITE) if kept is not None else ""
    if kept is None or not who:
        return []
    text = f"{kept.path} can be written by {who}, who may replace its files."
    return [Diagnosis(f"disk {section}", "failure", text, narrowed(kept, keeper, is_folder=True))]


def of_ledger(files: Sequence[Kept], keeper: Keeper) -> list[Diagnosis]:
    """The ledger's files contain the texts of requests."""
    for kept in files:
        for right, word in ((WRITE, "changed"), (READ, "read")):
            if who := others(kept, keeper, right):
                text = f"{kept.path} can be {word} by {who}; it contains the texts of requests."
                return [Diagnosis("ledger", "failure", text, narrowed(kept, keeper))]
    return []


# ---- the token


def of_token(seen: TokenSeen) -> list[Diagnosis]:
    keeper, folder = seen.keeper, seen.folder
    if not keeper.is_asker and keeper.asker != 0 and keeper.user != 0 and not keeper.is_service:
        text = f"The state folder belongs to {keeper.name}, who may impersonate the daemon."
        return [Diagnosis("token", "failure", text, "--state-dir, or state_dir: a folder of your own")]
    if folder is not None and (who := others(folder, keeper, WRITE)):
        text = f"{folder.path} can be written by {who}, who may impersonate the daemon."
        return [Diagnosis("token", "failure", text, narrowed(folder, keeper, is_folder=True))]
    if seen.auth == "none":
        text = "No token is required: every program on this machine may use the daemon."
        return [Diagnosis("token", "warning", text, '[door] auth = "token"')]
    return [_of_passed(seen) if seen.is_passed else _of_token_file(seen)]


def _of_passed(seen: TokenSeen) -> Diagnosis:
    text = "systemd passes the token as a credential; clients need it in COMFYLEDGER_TOKEN."
    return Diagnosis("token", "ok", text)


def _of_token_file(seen: TokenSeen) -> Diagnosis:
    kept, keeper = seen.file, seen.keeper
    if kept is None:
        return Diagnosis("token", "ok", "There is none yet; the first `comfyledger run` creates it.")
    who = others(kept, keeper, WRITE) or others(kept, keeper, READ)
    if who and who != EVERYBODY and not keeper.is_service and kept.mode & 0o077 == 0o040:
        text = f"{kept.path} can be read by its group too, whose members may use the daemon."
        return Diagnosis("token", "warning", text, f"chmod 600 {kept.path}, unless that is intended")
    if who:
        text = f"{kept.path} is open to {who}, who may use the daemon."
        return Diagnosis("token", "failure", text, narrowed(kept, keeper))
    if kept.mode & 0o040 and keeper.is_service:
        text = f"{kept.path} can be read by the service and its group {keeper.group_name}, as intended."
        return Diagnosis("token", "ok", text)
    return Diagnosis("token", "ok", f"{kept.path} can be read by its owner only.")


# ---- stores


def of_unopened(area: str, problem: str, credential: str, keeper: Keeper) -> Diagnosis:
    """A store that cannot be opened. `credential`: one that it needs and this command was not given."""
    if credential and keeper.is_service and not keeper.is_asker:
        text = f"Not checked: its secret is the credential {credential!r}, which systemd passes to the service alone."
        return Diagnosis(area, "warning", text, "run doctor as root while the service runs")
    return Diagnosis(area, "failure", problem, f"[stores.{area.removeprefix('store ')}]")
