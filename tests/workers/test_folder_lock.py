"""A spool and a state folder have one daemon at a time, and a spool one ledger."""

from __future__ import annotations

import errno
import fcntl
import shutil
from pathlib import Path

import pytest

from comfyledger.errors import SpoolUnusable, Unusable
from comfyledger.maintenance.audit import spool as inspected
from comfyledger.workers.spool import folder_lock
from comfyledger.workers.spool.folder_lock import OWNER, hold_spool, hold_state


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    path.touch()
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def use(root: Path, ledger: Path, ledger_id: str = "01A") -> None:
    held = hold_spool(root, ledger_id, ledger)
    assert held is not None
    held.close()


def test_a_spool_in_use_is_refused_by_any_path(root: Path, ledger: Path, tmp_path: Path) -> None:
    held = hold_spool(root, "01A", ledger)
    assert held is not None
    link = tmp_path / "link"
    link.symlink_to(root)
    for path in (root, link):
        with pytest.raises(SpoolUnusable, match=r"Another daemon uses the spool.*\[spool\] path"):
            hold_spool(path, "01A", ledger)
    held.close()
    use(link, ledger)


def test_a_folder_of_inputs_is_locked_in_the_same_way(root: Path, ledger: Path) -> None:
    held = hold_spool(root, "01A", ledger, "inputs")
    assert held is not None
    with pytest.raises(SpoolUnusable, match=r"Another daemon uses the folder of inputs.*\[inputs\] path"):
        hold_spool(root, "01A", ledger, "inputs")
    held.close()
    with pytest.raises(SpoolUnusable, match=r"The folder of inputs .* belongs to another ledger.*\[inputs\] path"):
        hold_spool(root, "01B", ledger, "inputs")


def test_another_ledger_never_gets_a_spool_with_files_that_it_would_sweep(root: Path, ledger: Path) -> None:
    use(root, ledger)
    for _ in range(2):
        with pytest.raises(SpoolUnusable, match=rf"belongs to another ledger \(01A, {ledger}\).*{root / OWNER}"):
            hold_spool(root, "01B", ledger)
    (root / OWNER).unlink()
    use(root, ledger, "01B")


def test_a_moved_ledger_keeps_its_spool_and_a_copy_does_not_take_it(root: Path, ledger: Path) -> None:
    use(root, ledger)
    copied = ledger.with_name("copy.db")
    shutil.copy(ledger, copied)
    with pytest.raises(SpoolUnusable, match=rf"belongs to the ledger {ledger}, of which {copied} is a copy"):
        hold_spool(root, "01A", copied)
    ledger.unlink()
    use(root, copied)
    use(root, copied)
    shutil.copy(copied, ledger)
    with pytest.raises(SpoolUnusable, match="is a copy"):
        hold_spool(root, "01A", ledger)


def test_who_copies_ledger_and_spool_has_two_of_each(tmp_path: Path, root: Path, ledger: Path) -> None:
    """`cp -a` of a whole state folder."""
    use(root, ledger)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(ledger, other / "ledger.db")
    shutil.copytree(root, other / "spool")
    use(other / "spool", other / "ledger.db")
    use(root, ledger)


def test_a_link_to_the_same_ledger_is_no_copy(root: Path, ledger: Path) -> None:
    use(root, ledger)
    link = ledger.with_name("link.db")
    link.symlink_to(ledger)
    use(root, link)


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b"\xff"])
def test_an_owner_that_cannot_be_read_is_none(root: Path, ledger: Path, torn: bytes) -> None:
    (root / OWNER).write_bytes(torn)
    use(root, ledger)
    with pytest.raises(SpoolUnusable):
        hold_spool(root, "01B", ledger)


def test_a_file_system_without_locks_is_used_without(root: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlocked(*_: object) -> None:
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(fcntl, "flock", unlocked)
    assert hold_spool(root, "01A", ledger) is None
    assert (root / OWNER).exists()
    assert hold_state(root) is None


def test_what_a_refused_daemon_held_is_free_again(root: Path, ledger: Path) -> None:
    use(root, ledger)
    with pytest.raises(SpoolUnusable):
        hold_spool(root, "01B", ledger)
    use(root, ledger)


def test_a_state_folder_in_use_is_refused(tmp_path: Path) -> None:
    held = hold_state(tmp_path / "deep" / "state")
    assert held is not None
    with pytest.raises(Unusable, match=r"Another daemon uses the state folder.*--state-dir"):
        hold_state(tmp_path / "deep" / "state")
    held.close()
    again = hold_state(tmp_path / "deep" / "state")
    assert again is not None
    again.close()


def test_the_names_of_folders_that_are_made_are_on_stable_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(folder_lock, "sync_folder", synced.append)
    held = hold_state(tmp_path / "a" / "b")
    assert held is not None
    held.close()
    assert set(synced) == {tmp_path, tmp_path / "a"}


def test_an_audit_does_not_take_the_owner_for_a_strangers_file(root: Path, ledger: Path) -> None:
    use(root, ledger)
    assert list(inspected.files_in(root)) == []
