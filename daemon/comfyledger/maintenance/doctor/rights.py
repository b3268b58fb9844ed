"""What the modes of token, secrets, ledger and folders mean, judged by whose daemon it is. Plain facts in, lines out.

Of a person's own daemon nobody else may read or write anything. A service is meant to be read by its group, which are
the people who may give it orders (docs/service.md); nobody but its user and root may write.
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
    """A file or folder with its permissions. `folder_mode`: of the folder that it can only be reached through."""

    path: str
    mode: int
    user: int
    group: int
    folder_mode: int = 0o777


class TokenSeen(msgspec.Struct, frozen=True):
    """The token's file and the state folder, None where there is none. `is_passed`: systemd passes the token."""

    path: str
    auth: str
    keeper: Keeper
    file: Kept | None = None
    folder: Kept | None = None
    is_passed: bool = False


class Configured(msgspec.Struct, frozen=True):
    """The configuration's file, None where the defaults hold. `has_secret`: a secret stands in it.

    `secrets`: the files that it names as holding one, as far as they are there.
    """

    keeper: Keeper
    file: Kept | None = None
    has_secret: bool = False
    secrets: tuple[Kept, ...] = ()


def others(kept: Kept, keeper: Keeper, right: int, *, is_askers: bool = False) -> str:
    """Who beside the keeper and root has a right that is not meant for them; empty if nobody.

    `is_askers`: who looks may be the owner, too.
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
    """The command that gives a file the rights that are meant."""
    mode = ("750" if is_folder else "640") if keeper.is_service else "700" if is_folder else "600"
    is_own = kept.user in {0, keeper.user} and (not keeper.is_service or kept.group == keeper.group)
    if is_own:
        return f"chmod {mode} {kept.path}"
    owner = "root" if kept.user == 0 else keeper.name
    return f"chown {owner}:{keeper.group_name} {kept.path} && chmod {mode} {kept.path}"


# ---- configuration and secrets


def of_configuration(seen: Configured) -> list[Diagnosis]:
    """One that was refused does not come here."""
    return [_of_file(seen), *(line for kept in seen.secrets for line in _of_secret(kept, seen.keeper))]


def _of_file(seen: Configured) -> Diagnosis:
    kept, keeper = seen.file, seen.keeper
    if kept is None:
        return Diagnosis("configuration", "ok", "No file is given: the defaults hold.")
    if who := others(kept, keeper, WRITE, is_askers=True):
        text = f"{kept.path} can be changed by {who}, who so decides what the daemon does."
        return Diagnosis("configuration", "failure", text, narrowed(kept, keeper))
    if seen.has_secret and (who := others(kept, keeper, READ, is_askers=True)):
        text = f"{kept.path} holds a secret, and {who} may read it."
        return Diagnosis("configuration", "failure", text, narrowed(kept, keeper))
    return Diagnosis("configuration", "ok", f"{kept.path} can be used.")


def _of_secret(kept: Kept, keeper: Keeper) -> list[Diagnosis]:
    for right, word in ((WRITE, "changed"), (READ, "read")):
        if who := others(kept, keeper, right, is_askers=True):
            text = f"{kept.path} holds a secret and can be {word} by {who}."
            return [Diagnosis("configuration", "failure", text, narrowed(kept, keeper))]
    return []


# ---- folders and the ledger


def of_folder(section: str, kept: Kept | None, keeper: Keeper) -> list[Diagnosis]:
    """The folder of ledger or spool: whoever may write to it may put something else in the place of a file."""
    who = others(kept, keeper, WRITE) if kept is not None else ""
    if kept is None or not who:
        return []
    text = f"{kept.path} can be written by {who}, so others may replace what is in it."
    return [Diagnosis(f"disk {section}", "failure", text, narrowed(kept, keeper, is_folder=True))]


def of_ledger(files: Sequence[Kept], keeper: Keeper) -> list[Diagnosis]:
    """The ledger's files hold what people asked for."""
    for kept in files:
        for right, word in ((WRITE, "changed"), (READ, "read")):
            if who := others(kept, keeper, right):
                text = f"{kept.path} can be {word} by {who}; it holds what people asked for."
                return [Diagnosis("ledger", "failure", text, narrowed(kept, keeper))]
    return []


# ---- the token


def of_token(seen: TokenSeen) -> list[Diagnosis]:
    keeper, folder = seen.keeper, seen.folder
    if not keeper.is_asker and keeper.asker != 0 and keeper.user != 0 and not keeper.is_service:
        text = f"The state folder belongs to {keeper.name}, who may take the daemon's place."
        return [Diagnosis("token", "failure", text, "--state-dir, or state_dir: a folder of your own")]
    if folder is not None and (who := others(folder, keeper, WRITE)):
        text = f"{folder.path} can be written by {who}, who may so take the daemon's place."
        return [Diagnosis("token", "failure", text, narrowed(folder, keeper, is_folder=True))]
    if seen.auth == "none":
        text = "No token is asked for: every program of this machine may give orders."
        return [Diagnosis("token", "warning", text, '[door] auth = "token"')]
    return [_of_passed(seen) if seen.is_passed else _of_token_file(seen)]


def _of_passed(seen: TokenSeen) -> Diagnosis:
    text = "systemd passes the token as a credential; clients are given it in COMFYLEDGER_TOKEN."
    return Diagnosis("token", "ok", text)


def _of_token_file(seen: TokenSeen) -> Diagnosis:
    kept, keeper = seen.file, seen.keeper
    if kept is None:
        return Diagnosis("token", "ok", "There is none yet; the first `comfyledger run` makes it.")
    who = others(kept, keeper, WRITE) or others(kept, keeper, READ)
    if who and who != EVERYBODY and not keeper.is_service and kept.mode & 0o077 == 0o040:
        text = f"{kept.path} can be read by its group as well, who may give orders."
        return Diagnosis("token", "warning", text, f"chmod 600 {kept.path}, unless that is meant")
    if who:
        text = f"{kept.path} is open to {who}, who may give orders."
        return Diagnosis("token", "failure", text, narrowed(kept, keeper))
    if kept.mode & 0o040 and keeper.is_service:
        text = f"{kept.path} can be read by the service and its group {keeper.group_name}, as is meant."
        return Diagnosis("token", "ok", text)
    return Diagnosis("token", "ok", f"{kept.path} can be read by its owner only.")


# ---- stores


def of_unopened(area: str, problem: str, credential: str, keeper: Keeper) -> Diagnosis:
    """A store that cannot be opened. `credential`: that it needs and nobody has passed to this command."""
    if credential and keeper.is_service and not keeper.is_asker:
        text = f"Not looked at: its secret is the credential {credential!r}, which systemd passes to the service alone."
        return Diagnosis(area, "warning", text, "run doctor as root while the service runs")
    return Diagnosis(area, "failure", problem, f"[stores.{area.removeprefix('store ')}]")
