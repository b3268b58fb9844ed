"""Two boxes and their wrapping keys: what is read, what is destroyed, and that no death loses a key that is needed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from comfyledger import crash_points
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.shared import rotation, texts
from comfyledger.ledger.shared.connection import Connection, connected
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.rotation import Rotation, want_next
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from support.fleet_boxes import Box, rows_of
from support.ledger_builders import submission
from support.ledger_kinds import TERMS
from support.postgres import POSTGRES, WHY_NOT, shared_cluster

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)
STEPS = ("keys.made", "keys.learned", "keys.page", "keys.rewrapped")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Box, Box]:
    """Boxes with three texts: one from before the fleet began, and one of each box."""
    address = shared_cluster().database()
    north, south = Box(tmp_path / "north", address), Box(tmp_path / "south", address)
    with closing(Ledger.open(north.path)) as own:
        decide_group(own, [submission("r0", prompt="from before")], TERMS)
    north.init()
    south.join(north)
    north.submit("r1", "of north")
    south.submit("r2", "of south")
    for box in (north, south):
        box.tend()
    return north, south


TEXTS = {"from before", "of north", "of south"}


def check_read(*boxes: Box) -> None:
    for box in boxes:
        assert box.texts() >= TEXTS


def test_after_a_rotation_all_texts_are_read_and_no_box_has_the_old_key(two: tuple[Box, Box]) -> None:
    north, south = two
    assert north.in_file() == south.in_file()
    (old,) = north.in_file().values()
    assert want_next(north.address) == 1
    north.tend()
    south.tend()
    for box in two:
        assert set(box.in_file()) == {2}
        assert old.hex() not in (box.folder / "fleet.keys").read_text()
    assert rows_of(north.address, "SELECT DISTINCT generation FROM blob_keys") == [(2,)]
    check_read(north, south)
    south.submit("r3", "under the next key")
    assert "under the next key" in north.texts()


def test_a_box_destroys_nothing_before_all_keys_are_wrapped_anew(
    two: tuple[Box, Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two
    monkeypatch.setattr(rotation, "PAGE_KEYS", 1)
    monkeypatch.setattr(rotation, "PAGES", 1)
    want_next(north.address)
    keys = Keys.beside(north.path)
    one = Rotation(north.address, keys, "north")
    looks = 0
    while one.tend():
        looks += 1
        assert set(north.in_file()) == {1, 2}
        check_read(north, south)
    assert looks == len(rows_of(north.address, "SELECT * FROM blob_keys"))
    assert set(north.in_file()) == {2}


def test_a_key_that_texts_need_stays_when_another_box_begins_the_next_one_meanwhile(
    two: tuple[Box, Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two
    look, keys, looks = rotation.key_state, Keys.beside(north.path), 0

    def slow(connection: Connection) -> rotation.KeyState:
        nonlocal looks
        found, looks = look(connection), looks + 1
        if looks == 2:
            with closing(connected(south.address, rotation.CALL_S)) as theirs:
                rotation.begin_next(theirs, Keys.beside(south.path), found.generation)
            keys.follow(connection)
        return found

    monkeypatch.setattr(rotation, "key_state", slow)
    Rotation(north.address, keys, "north").tend()
    assert looks == 2
    assert set(north.in_file()) == {1, 2}
    check_read(north, south)


@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_at_any_step_loses_no_key_that_is_needed(
    two: tuple[Box, Box], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two
    monkeypatch.setattr(rotation, "PAGE_KEYS", 1)

    def die(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt(name)

    want_next(north.address)
    with monkeypatch.context() as patched:
        patched.setattr(crash_points, "at", die)
        with pytest.raises(KeyboardInterrupt, match=step):
            north.tend()
    check_read(north, south)
    south.submit("r3", "meanwhile")
    south.tend()
    assert set(south.in_file()) == {2}
    check_read(north, south)
    north.tend()
    assert north.in_file() == south.in_file()
    assert north.texts() >= {*TEXTS, "meanwhile"}


def test_a_box_that_was_away_learns_all_that_came_meanwhile_and_is_named_until_then(two: tuple[Box, Box]) -> None:
    north, south = two
    for generation in (1, 2, 3):
        assert want_next(north.address) == generation
        north.tend()
    found = fleet.standing(north.address)
    assert (found.key, found.old_keys, found.forgetting) == (4, ["south"], True)
    south.submit("r3", "of one that was away")
    south.tend()
    assert north.in_file() == south.in_file()
    assert set(south.in_file()) == {4}
    found = fleet.standing(north.address)
    assert (found.key, found.old_keys, found.forgetting) == (4, [], False)


def test_what_is_left_of_a_key_whose_destruction_was_cut_short_goes_at_the_next_start(two: tuple[Box, Box]) -> None:
    north, _ = two
    (old,) = north.in_file().values()
    want_next(north.address)
    north.tend()
    file = north.folder / "fleet.keys"
    content = file.read_bytes()
    length = len(content) // 2
    rest = content[:20] + old.hex().encode()[20:] + content[20 + len(old.hex()) - 20 : length]
    file.write_bytes(rest[:length].ljust(length, b"0") + content[length:])
    assert old.hex()[20:] in file.read_text()
    assert set(north.in_file()) == {2}
    north.tend()
    assert old.hex()[20:] not in file.read_text()
    assert set(north.in_file()) == {2}


def test_a_page_that_the_database_lost_again_is_done_again_before_a_key_is_destroyed(
    two: tuple[Box, Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two
    monkeypatch.setattr(rotation, "PAGE_KEYS", 1)
    monkeypatch.setattr(rotation, "PAGES", 1)
    lost = rows_of(north.address, "SELECT digest, encode(wrapped, 'hex') FROM blob_keys ORDER BY digest LIMIT 1")
    want_next(north.address)
    one = Rotation(north.address, Keys.beside(north.path), "north")
    assert one.tend()
    digest, wrapped = lost[0]
    undone = f"UPDATE blob_keys SET generation = 1, wrapped = decode('{wrapped}', 'hex') WHERE digest = '{digest}'"
    rows_of(north.address, undone)
    while one.tend():
        pass
    assert set(north.in_file()) == {1, 2}
    check_read(north, south)
    while one.tend():
        pass
    assert set(north.in_file()) == {2}
    check_read(north, south)


def test_texts_whose_keys_are_replaced_while_a_box_reads_them_are_read_again(two: tuple[Box, Box]) -> None:
    north, _ = two
    keys = Keys.beside(north.path)
    with closing(rotation.connected(north.address, 60.0)) as connection:
        rows = connection.execute(texts.READ, (0, 100)).fetchall()
        want_next(north.address)
        while Rotation(north.address, keys, "north").tend():
            pass
        assert keys.oldest == 2
        assert {row[3] for row in rows} == {1}
        found = texts.opened(connection, keys, rows)
    assert [(text.position, text.blob.digest) for text in found] == [(row[0], row[1]) for row in rows]
    assert {"of north", "of south"} <= {text.blob.content.decode() for text in found}


def test_two_boxes_at_once_make_one_next_key(two: tuple[Box, Box]) -> None:
    north, south = two
    with closing(rotation.connected(north.address, 60.0)) as connection:
        for box in two:
            rotation.begin_next(connection, Keys.beside(box.path), 1)
    assert rows_of(north.address, "SELECT generation FROM wrapping_keys ORDER BY 1") == [(1,), (2,)]
    south.tend()
    north.tend()
    assert north.in_file() == south.in_file()


def test_what_was_forgotten_has_the_next_key_made_after_an_hour(two: tuple[Box, Box]) -> None:
    north, _ = two
    north.forget("batch-app-r1")
    north.tend()
    assert set(north.in_file()) == {1}, "at most one an hour"
    assert fleet.standing(north.address).forgetting
    rows_of(north.address, "UPDATE wrapping_keys SET made = now() - interval '61 minutes'")
    north.tend()
    assert set(north.in_file()) == {2}
    rows_of(north.address, "UPDATE wrapping_keys SET made = now() - interval '61 minutes'")
    north.tend()
    assert set(north.in_file()) == {2}, "nothing was forgotten since"


def test_a_database_that_lost_a_key_is_refused(two: tuple[Box, Box]) -> None:
    north, _ = two
    want_next(north.address)
    north.tend()
    rows_of(north.address, "UPDATE head SET generation = 1")
    rows_of(north.address, "DELETE FROM wrapping_keys WHERE generation = 2")
    with pytest.raises(LedgerUnusable, match="lost the wrapping key of generation 2"):
        north.tend()
    with pytest.raises(LedgerUnusable, match="lost the wrapping key of generation 2"), north.ledger():
        pass


def test_keys_of_another_fleet_are_refused(two: tuple[Box, Box], tmp_path: Path) -> None:
    north, _ = two
    other = Box(tmp_path / "other", shared_cluster().database())
    fleet.init(other.address, other.path, lambda *_: None)
    stranger = Box(tmp_path / "stranger", north.address)
    with pytest.raises(LedgerUnusable, match="of another fleet"):
        stranger.join(other)
    assert stranger.in_file() == {}
    with pytest.raises(LedgerUnusable, match=r"fleet\.keys is missing"):
        fleet.join(north.address, stranger.path, lambda *_: None)
    assert not stranger.path.exists()
