"""The account that the daemon runs as, which is the owner of its state folder, and what that account may do with files.

`doctor`, run as root or as a member of the service's group, judges by this account and not by its own. Modes and owners
are read; access control lists are not.
"""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

USERS_FROM: Final = 1_000
"""Lower user ids belong to accounts of the system (login.defs(5), SYS_UID_MAX)."""
NO_SHELLS: Final = frozenset({"nologin", "false"})
WRITE_AND_ENTER: Final = 0o3
ENTER: Final = 0o1


class Keeper(msgspec.Struct, frozen=True):
    """An account: the ids of user and group, their names, and all its groups. `asker`: the user id of this process.

    `is_service`: nobody logs in with it. Then the members of `group`, the group of the state folder, may read its files
    and give orders. `private`: groups whose only members are this account or the asker.
    """

    user: int
    group: int
    name: str = ""
    group_name: str = ""
    groups: frozenset[int] = frozenset()
    private: frozenset[int] = frozenset()
    is_service: bool = False
    asker: int = 0

    @property
    def is_asker(self) -> bool:
        return self.user == self.asker


def keeper_of(state: Path) -> Keeper:
    """The owner of a state folder, or the user of this process if there is no folder yet. Raises OSError."""
    try:
        found = state.stat()
    except FileNotFoundError:
        return _account(os.geteuid(), os.getegid())
    return _account(found.st_uid, found.st_gid)


def _account(user: int, group: int) -> Keeper:
    """The account of an id. An id without an entry belongs to a service whose user systemd invented (DynamicUser=)."""
    name, shell, groups = str(user), "nologin", frozenset({group})
    with suppress(KeyError):
        entry = pwd.getpwuid(user)
        name, shell = entry.pw_name, Path(entry.pw_shell).name
        groups |= frozenset(os.getgrouplist(name, entry.pw_gid))
    asker = os.geteuid()
    return Keeper(
        user,
        group,
        name,
        _group_name(group),
        groups,
        private=_private(user) | _private(asker),
        is_service=user != 0 and (shell in NO_SHELLS or user < USERS_FROM),
        asker=asker,
    )


def _private(user: int) -> frozenset[int]:
    """The group that many systems create for each user alone: the user's first group, with the user's name and no other
    members.
    """
    with suppress(KeyError):
        entry = pwd.getpwuid(user)
        group = grp.getgrgid(entry.pw_gid)
        if group.gr_name == entry.pw_name and set(group.gr_mem) <= {entry.pw_name}:
            return frozenset({entry.pw_gid})
    return frozenset()


def _group_name(group: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(group).gr_name
    return str(group)


def may_write(folder: Path, keeper: Keeper) -> bool:
    """Whether the account may make files in a folder that exists. Raises OSError."""
    if keeper.is_asker:
        return os.access(folder, os.W_OK | os.X_OK)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return False
    real = folder.resolve()
    return allows(real.stat(), keeper, WRITE_AND_ENTER) and all(
        allows(above.stat(), keeper, ENTER) for above in real.parents
    )


def allows(found: os.stat_result, keeper: Keeper, wanted: int) -> bool:
    """Whether a file's mode gives an account these bits: 1 enter, 2 write, 4 read.

    The first class that matches decides (path_resolution(7), "Permissions").
    """
    shift = 6 if found.st_uid == keeper.user else 3 if found.st_gid in keeper.groups else 0
    return keeper.user == 0 or found.st_mode >> shift & wanted == wanted
