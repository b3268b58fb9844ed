"""Whose files they are, and who else may read or write them: a person's own daemon, and a service as it is set up."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import accounts
from comfyledger.accounts import Keeper, allows, keeper_of, may_write
from comfyledger.maintenance.doctor import rights
from comfyledger.maintenance.doctor.rights import Configured, Kept, TokenSeen
from comfyledger_folder.disk import Disk
from support.doctor_report import about, report, verdicts

OWN = Keeper(1000, 100, "areg", "users", frozenset({100}), asker=1000)
"""A person's own daemon, with a group that others are in, too."""
SERVICE = Keeper(990, 980, "comfyledger", "comfyledger", frozenset({980}), is_service=True, asker=0)
"""As `comfyledger systemd install` sets it up, looked at by root."""


def own(mode: int, **more: Any) -> Kept:
    return Kept(**{"path": "/state/token", "mode": mode, "user": 1000, "group": 100, **more})


def served(mode: int, **more: Any) -> Kept:
    return Kept(**{"path": "/var/token", "mode": mode, "user": 990, "group": 980, **more})


def of_token(keeper: Keeper, file: Kept | None, folder_mode: int, auth: str = "token") -> tuple[str, str]:
    folder = Kept("/state", folder_mode, keeper.user, keeper.group)
    (one,) = rights.of_token(TokenSeen("/state/token", auth, keeper, file, folder))
    return one.verdict, one.mend


@pytest.mark.parametrize(
    ("file", "folder_mode", "verdict", "mend"),
    [
        (own(0o600), 0o700, "ok", ""),
        (None, 0o700, "ok", ""),
        (own(0o640), 0o700, "warning", "chmod 600 /state/token, unless that is intended"),
        (own(0o640, group=0), 0o700, "ok", ""),
        (own(0o660), 0o700, "failure", "chmod 600 /state/token"),
        (own(0o604), 0o700, "failure", "chmod 600 /state/token"),
        (own(0o600, user=1001), 0o700, "failure", "chown areg:users /state/token && chmod 600 /state/token"),
        (own(0o600), 0o770, "failure", "chmod 700 /state"),
        (own(0o600), 0o755, "ok", ""),
    ],
)
def test_the_token_of_a_persons_own_daemon_is_theirs_alone(
    file: Kept | None, folder_mode: int, verdict: str, mend: str
) -> None:
    assert of_token(OWN, file, folder_mode) == (verdict, mend)


@pytest.mark.parametrize("asker", [0, 990, 1000])
@pytest.mark.parametrize(
    ("file", "folder_mode", "verdict", "mend"),
    [
        (served(0o640), 0o750, "ok", ""),
        (served(0o600), 0o750, "ok", ""),
        (served(0o600, user=0), 0o750, "ok", ""),
        (served(0o640, user=0, group=0), 0o750, "ok", ""),
        (
            served(0o640, group=100),
            0o750,
            "failure",
            "chown comfyledger:comfyledger /var/token && chmod 640 /var/token",
        ),
        (served(0o660), 0o750, "failure", "chmod 640 /var/token"),
        (served(0o644), 0o750, "failure", "chmod 640 /var/token"),
        (
            served(0o640, user=1000),
            0o750,
            "failure",
            "chown comfyledger:comfyledger /var/token && chmod 640 /var/token",
        ),
        (served(0o640), 0o770, "failure", "chmod 750 /state"),
        (served(0o640), 0o757, "failure", "chmod 750 /state"),
    ],
)
def test_the_token_of_a_service_is_its_groups_as_well_whoever_looks(
    asker: int, file: Kept, folder_mode: int, verdict: str, mend: str
) -> None:
    assert of_token(replace(SERVICE, asker=asker), file, folder_mode) == (verdict, mend)


def test_no_token_is_a_warning_unless_others_may_take_the_daemons_place() -> None:
    assert of_token(OWN, None, 0o700, "none") == ("warning", '[door] auth = "token"')
    assert of_token(OWN, None, 0o777, "none") == ("failure", "chmod 700 /state")


def test_a_state_folder_of_another_person_is_a_failure_but_not_for_root() -> None:
    assert of_token(replace(OWN, asker=1001), own(0o600), 0o700)[0] == "failure"
    assert of_token(replace(OWN, asker=0), own(0o600), 0o700)[0] == "ok"


def test_a_token_that_systemd_passes_is_said_to_be_passed() -> None:
    seen = TokenSeen("/state/token", "token", SERVICE, None, Kept("/state", 0o750, 990, 980), is_passed=True)
    (one,) = rights.of_token(seen)
    assert one.verdict == "ok"
    assert "COMFYLEDGER_TOKEN" in one.sentence


@pytest.mark.parametrize(
    ("keeper", "file", "has_secret", "verdict", "mend"),
    [
        (OWN, None, False, "ok", ""),
        (OWN, own(0o644), False, "ok", ""),
        (OWN, own(0o600), True, "ok", ""),
        (OWN, own(0o640), True, "failure", "chmod 600 /state/token"),
        (OWN, own(0o666), False, "failure", "chmod 600 /state/token"),
        (OWN, own(0o664), False, "failure", "chmod 600 /state/token"),
        (replace(OWN, private=frozenset({100})), own(0o664), False, "ok", ""),
        (replace(OWN, private=frozenset({100})), own(0o660), True, "ok", ""),
        (SERVICE, served(0o640, user=0), True, "ok", ""),
        (SERVICE, served(0o640), True, "ok", ""),
        (
            SERVICE,
            served(0o640, user=0, group=100),
            True,
            "failure",
            "chown root:comfyledger /var/token && chmod 640 /var/token",
        ),
        (
            SERVICE,
            served(0o644, user=0, group=0),
            True,
            "failure",
            "chown root:comfyledger /var/token && chmod 640 /var/token",
        ),
        (SERVICE, served(0o644, user=0, group=0), False, "ok", ""),
        (replace(SERVICE, asker=1000), served(0o640, user=1000), True, "ok", ""),
    ],
)
def test_a_configuration_with_a_secret_may_only_be_read_by_its_owner(
    keeper: Keeper, file: Kept | None, has_secret: bool, verdict: str, mend: str
) -> None:
    (one,) = rights.of_configuration(Configured(keeper, file, has_secret))
    assert (one.verdict, one.mend) == (verdict, mend)


def test_a_file_that_holds_a_secret_is_judged_like_the_configuration() -> None:
    seen = Configured(SERVICE, None, secrets=(served(0o640), served(0o640, group=100), served(0o644)))
    assert verdicts(rights.of_configuration(seen)) == ["ok", "failure", "failure"]


def test_a_ledger_that_others_can_reach_and_read_is_a_failure() -> None:
    assert rights.of_ledger([served(0o640), served(0o640)], SERVICE) == []
    assert rights.of_ledger([own(0o644, folder_mode=0o700)], OWN) == []
    assert verdicts(rights.of_ledger([own(0o600), own(0o644)], OWN)) == ["failure"]
    assert verdicts(rights.of_ledger([served(0o660)], SERVICE)) == ["failure"]


def test_a_folder_that_others_may_write_to_is_a_failure() -> None:
    assert rights.of_folder("spool", None, OWN) == []
    assert rights.of_folder("spool", own(0o755), OWN) == []
    assert rights.of_folder("spool", served(0o750), SERVICE) == []
    assert [one.mend for one in rights.of_folder("spool", served(0o770), SERVICE)] == ["chmod 750 /var/token"]
    assert verdicts(rights.of_folder("ledger", own(0o777), OWN)) == ["failure"]


def test_a_credential_that_only_the_service_has_is_not_the_stores_fault() -> None:
    seen = rights.of_unopened("store cloud", "it is not there", "cloudinary", replace(SERVICE, asker=1000))
    assert (seen.verdict, "'cloudinary'" in seen.sentence) == ("warning", True)
    assert rights.of_unopened("store cloud", "it is not there", "cloudinary", OWN).verdict == "failure"
    assert rights.of_unopened("store cloud", "it is not there", "", SERVICE).mend == "[stores.cloud]"


# ---- what is seen of a machine


@pytest.mark.parametrize(
    ("mode", "user", "group", "wanted", "may"),
    [
        (0o700, 990, 5, 0o3, True),
        (0o570, 990, 980, 0o3, False),  # the owner's class alone counts
        (0o070, 5, 980, 0o3, True),
        (0o707, 5, 980, 0o3, False),
        (0o703, 5, 5, 0o3, True),
        (0o705, 5, 5, 0o3, False),
    ],
)
def test_of_a_mode_the_first_class_that_fits_decides(mode: int, user: int, group: int, wanted: int, may: bool) -> None:
    found = os.stat_result((mode, 0, 0, 1, user, group, 0, 0, 0, 0))
    assert allows(found, SERVICE, wanted) is may
    assert allows(found, replace(SERVICE, user=0), wanted)


def test_whether_the_daemon_may_write_is_asked_for_its_account(tmp_path: Path) -> None:
    stranger = Keeper(54_321, 54_321, "nobody-here", "none", frozenset({54_321}), is_service=True, asker=os.geteuid())
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    assert may_write(folder, keeper_of(folder))
    assert not may_write(folder, stranger)
    for path in (folder, *folder.resolve().parents):
        if path.stat().st_uid == os.geteuid() and path not in (Path("/"), Path(tempfile.gettempdir())):
            path.chmod(path.stat().st_mode | 0o001)
    folder.chmod(0o777)
    assert may_write(folder, stranger)


def test_the_owner_of_the_state_folder_is_whose_daemon_it_is(tmp_path: Path) -> None:
    mine = keeper_of(tmp_path)
    assert (mine.user, mine.is_asker) == (os.geteuid(), True)
    assert keeper_of(tmp_path / "not there").user == os.geteuid()
    unknown = accounts._account(54_321, 54_321)
    assert (unknown.is_service, unknown.name) == (True, "54321")


async def test_an_installation_of_a_service_is_well(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token and ledger can be read by the group, which is what the unit does to them."""
    settings = loaded()
    settings.state_path.mkdir(mode=0o750)
    settings.token_path.touch(mode=0o640)
    settings.token_path.chmod(0o640)
    real = keeper_of(settings.state_path)
    monkeypatch.setattr(accounts, "_account", lambda *_: replace(real, is_service=True, asker=real.user))
    found = await report(settings)
    assert verdicts(about(found, "token")) == ["ok"]
    settings.state_path.chmod(0o777)
    found = await report(settings)
    assert [verdicts(about(found, area)) for area in ("token", "disk ledger")] == [["failure"], ["failure"]]


def test_a_folder_store_is_checked_for_the_daemons_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, which says nothing of a service."""
    state, root = tmp_path / "state", tmp_path / "root"
    state.mkdir()
    root.mkdir(mode=0o755)
    disk = Disk(root, state)
    assert [one.verdict for one in disk.root.diagnose()] == ["ok"]
    service = replace(keeper_of(state), user=54_321, group=54_321, groups=frozenset(), is_service=True)
    monkeypatch.setattr(accounts, "_account", lambda *_: service)
    assert [one.verdict for one in disk.root.diagnose()] == ["failure"]
