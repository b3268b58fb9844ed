"""What was forgotten is nowhere any more: in no replica, not in the database, and no key that a box still has opens
what older copies of the database have of it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.rotation import want_next
from comfyledger.ledger.shared.sealing import Sealed, unseal, unwrap
from support.fleet_boxes import Box, rows_of
from support.hidden_texts import hides
from support.postgres import POSTGRES, WHY_NOT, Cluster, running
from support.waiting import DEADLINE_S

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)
SECRET = f"a secret that nobody but Areg may know: {secrets.token_hex(16)}"
KEPT = f"what stays: {secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@pytest.fixture
def two(tmp_path: Path, cluster: Cluster) -> tuple[Box, Box]:
    """Both have a text that will be forgotten, of batch r1, and another."""
    address = cluster.database()
    north, south = Box(tmp_path / "north", address).init(), Box(tmp_path / "south", address)
    south.join(north)
    south.submit("r1", SECRET)
    south.submit("r2", KEPT)
    for box in (north, south):
        box.catch_up()
        box.tend()
    return north, south


def holding(folder: Path, text: bytes) -> list[str]:
    """The files below a folder that have a text, byte for byte."""
    return [file.name for file in folder.rglob("*") if file.is_file() and text in file.read_bytes()]


def dump(address: str) -> bytes:
    assert POSTGRES is not None
    words = [str(POSTGRES / "pg_dump"), "--inserts", address]
    return subprocess.run(words, check=True, capture_output=True, timeout=DEADLINE_S).stdout


def test_a_text_is_never_readable_in_the_files_of_the_database_nor_in_a_dump(
    two: tuple[Box, Box], cluster: Cluster
) -> None:
    north, south = two
    rows_of(north.address, f"CREATE TABLE control AS SELECT '{KEPT}' AS text")
    cluster.execute("CHECKPOINT")
    found = holding(cluster.folder, KEPT.encode())
    assert found, "a text in the clear would be found"
    assert holding(cluster.folder, SECRET.encode()) == []
    dumped = dump(north.address)
    assert KEPT.encode() in dumped
    rows_of(north.address, "DROP TABLE control")
    dumped = dump(north.address)
    for text in (SECRET, KEPT):
        assert not hides(dumped, text.encode())
        assert text.encode().hex().encode() not in dumped, "as it shows bytes"
    assert holding(south.folder, SECRET.encode())


def test_the_secret_of_the_ledger_is_in_every_replica_and_not_readable_in_the_database(
    two: tuple[Box, Box], cluster: Cluster
) -> None:
    """The keys of signed addresses and of calls between boxes follow from it."""
    secrets_of_boxes = []
    for box in two:
        with box.ledger() as ledger:
            secrets_of_boxes.append(ledger.secret)
    secret, other = secrets_of_boxes
    assert secret == other
    assert len(secret) == 32
    cluster.execute("CHECKPOINT")
    dumped = dump(two[0].address)
    for form in (secret, secret.hex().encode()):
        assert holding(cluster.folder, form) == []
        assert not hides(dumped, form)


def test_a_forgotten_text_is_in_no_replica_once_each_box_has_caught_up(two: tuple[Box, Box]) -> None:
    north, south = two
    for box in two:
        assert holding(box.folder, SECRET.encode())
    north.forget("batch-app-r1")
    assert holding(north.folder, SECRET.encode()) == []
    assert holding(south.folder, SECRET.encode()), "one that is away still has it"
    south.catch_up()
    for box in two:
        assert holding(box.folder, SECRET.encode()) == []
        assert holding(box.folder, KEPT.encode())
    found = north.texts()
    assert KEPT in found
    assert SECRET not in found


Copy = list[Sealed]


def copied(address: str) -> tuple[Copy, list[tuple[int, bytes]]]:
    """What a backup has: all texts, and all wrapping keys."""
    sql = "SELECT digest, content, generation, wrapped FROM blobs JOIN blob_keys USING (digest)"
    with psycopg.connect(address) as connection:
        texts = [Sealed(*row) for row in connection.execute(sql.encode()).fetchall()]
        wrapped = connection.execute("SELECT generation, wrapped FROM wrapping_keys ORDER BY 1").fetchall()
        return texts, [(generation, bytes(key)) for generation, key in wrapped]


def opened(copy: Copy, keys: Iterable[Keys]) -> set[bytes]:
    """What boxes can read of a copy, with all keys that they have."""
    found = set()
    for sealed in copy:
        for one in keys:
            for cipher in one._ciphers.values():
                try:
                    found.add(unseal(sealed, cipher).content)
                except LedgerUnusable:
                    continue
    return found


def test_nobody_opens_an_old_copy_of_the_database_once_every_box_has_the_next_key(
    two: tuple[Box, Box], cluster: Cluster
) -> None:
    north, south = two
    (old,) = north.in_file().values()
    backup, _ = copied(north.address)
    assert SECRET.encode() in opened(backup, [Keys.beside(north.path)])
    north.forget("batch-app-r1")
    south.catch_up()
    want_next(north.address)
    north.tend()
    later, chain = copied(north.address)
    assert SECRET.encode() in opened(backup, [Keys.beside(south.path)]), "a box that is away still has the key"
    south.tend()
    each = [Keys.beside(box.path) for box in two]
    assert opened(backup, each) == set()
    assert KEPT.encode() in opened(later, each)
    with pytest.raises(LedgerUnusable):  # the chain leads from older keys to newer ones, not back
        unwrap("generation 2", chain[1][1], each[0]._ciphers[2])
    cluster.execute("CHECKPOINT")
    for folder in (north.folder, south.folder, cluster.folder):
        for form in (old, old.hex().encode()):
            assert holding(folder, form) == []


def test_the_key_file_of_a_running_box_is_readable_for_its_owner_alone(two: tuple[Box, Box]) -> None:
    for box in two:
        assert os.stat(box.folder / "fleet.keys").st_mode & 0o077 == 0
