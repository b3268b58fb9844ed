"""What the doctor says of a fleet: its database, the role of the boxes, poolers, and boxes that differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from comfyledger.core.commands import JoinBox
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.shared import pooler
from comfyledger.ledger.shared.roles import GRANTS, Role
from comfyledger.maintenance import fleet as fleets
from comfyledger.maintenance.doctor import fleet
from comfyledger.maintenance.doctor.fleet import About, FleetSeen, of_fleet, seen
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.maintenance.fleet import BoxStanding, Standing
from comfyledger.settings import Settings
from comfyledger.settings.sections import Box as BoxSection
from comfyledger.settings.sections import LedgerFile
from support import bouncer
from support.documents import ROOT
from support.fleet_boxes import Box, rows_of
from support.ledger_kinds import NEEDS_POSTGRES, TERMS
from support.postgres import OWNER, PASSWORD, Cluster, running, shared_cluster
from support.waiting import until_without_a_loop

NEEDS_BOUNCER = pytest.mark.skipif(bouncer.PROGRAM is None, reason=bouncer.WHY_NOT)
NORTH = BoxStanding("north", "http://north", 1.0, 0, 1, present=True, key=2)
SOUTH = replace(NORTH, name="south", url="http://south")
ROLE = Role("boxes", False, False, False, ())
SOUND = FleetSeen(
    "17.2", "on", "ANY 1 (a)", 1, 0.0, ROLE, Standing("L", "E", 100, [NORTH, SOUTH], 2, False, []), {}, 98, 98
)


def worse(one: FleetSeen) -> list[tuple[str, str]]:
    """What is not in order."""
    return [(said.verdict, said.sentence) for said in of_fleet(one, "north") if said.verdict != "ok"]


def only(one: FleetSeen) -> Diagnosis:
    (found,) = [said for said in of_fleet(one, "north") if said.verdict != "ok"]
    return found


def test_of_a_sound_fleet_the_doctor_says_where_the_log_and_this_replica_end() -> None:
    assert [said.sentence for said in of_fleet(SOUND, "north")] == [
        "PostgreSQL 17.2 has the log up to position 100.",
        "This box's replica is at position 98, 2 behind the log.",
    ]


@pytest.mark.parametrize(
    ("changed", "verdict", "words"),
    [
        ({"commit": "off"}, "failure", "synchronous_commit=off"),
        ({"commit": "remote_write"}, "failure", "synchronous_commit=remote_write"),
        ({"standbys": "", "following": 0}, "warning", "one machine holds the log"),
        ({"following": 0}, "failure", "No standby follows"),
        ({"ahead_s": -7.0}, "warning", "-7 s off"),
        ({"role": replace(ROLE, owns=True)}, "warning", "boxes owns the log"),
        ({"role": replace(ROLE, is_superuser=True)}, "warning", "boxes is a superuser"),
        ({"role": replace(ROLE, changes=True)}, "warning", "may change lines"),
        ({"role": replace(ROLE, lacks=("events: INSERT",))}, "failure", "may not do what a box needs: events: INSERT"),
        ({"own": 120, "common": 90}, "failure", "30 events after position 90 that the shared log has not"),
    ],
)
def test_what_makes_a_fleet_less_safe_is_named(changed: dict[str, object], verdict: str, words: str) -> None:
    found = only(replace(SOUND, **changed))
    assert found.verdict == verdict
    assert words in found.sentence
    assert found.mend


@pytest.mark.parametrize(
    ("south", "words"),
    [
        (replace(SOUTH, age_s=60.0), "south said nothing for 60 s"),
        (replace(SOUTH, behind=5_000), "south is 5000 events behind"),
        (replace(SOUTH, present=False, reason="lease"), "south has left (lease)"),
        (replace(SOUTH, url=NORTH.url), "north, south have the same address"),
    ],
)
def test_a_box_that_is_not_as_it_should_be_is_named(south: BoxStanding, words: str) -> None:
    assert words in only(replace(SOUND, standing=replace(SOUND.standing, boxes=[NORTH, south]))).sentence


def test_a_box_that_was_given_up_is_no_news_and_one_that_never_came_is() -> None:
    gone = replace(SOUTH, present=False, given_up=True, reason="lease")
    assert worse(replace(SOUND, standing=replace(SOUND.standing, boxes=[NORTH, gone]))) == []
    assert (
        "north has never taken part" in only(replace(SOUND, standing=replace(SOUND.standing, boxes=[SOUTH]))).sentence
    )


def test_a_box_whose_clock_is_off_is_named() -> None:
    about = {"north": About(ahead_s=0.4), "south": About(ahead_s=7_200.0), "west": About()}
    assert [words for _, words in worse(replace(SOUND, about=about))] == [
        "The clock of the box south was +7,200 s off the database's when it was heard last."
    ]


def test_boxes_with_older_keys_are_named() -> None:
    assert only(replace(SOUND, standing=replace(SOUND.standing, old_keys=["south"]))).sentence.endswith(": south.")


def test_parts_of_the_configuration_that_differ_are_named_with_the_boxes_that_agree() -> None:
    same = {"naming": "1", "store folder": "x"}
    about = {
        "east": About("1.0", {**same, "workflows": "b"}),
        "north": About("1.0", {**same, "workflows": "a"}),
        "south": About("1.0", {**same, "workflows": "b"}),
        "west": About("1.1"),
    }
    assert worse(replace(SOUND, about=about)) == [
        ("warning", "The boxes differ in workflows: east, south / north."),
        ("warning", "The boxes differ in version of comfyledger: east, north, south / west."),
    ]


def test_without_a_fleet_the_doctor_says_nothing_of_one() -> None:
    assert fleet.fleet(Settings(), {}) == []


# ---- a real database


@pytest.fixture
def north(tmp_path: Path) -> Box:
    box = Box(tmp_path / "north", shared_cluster().database()).init()
    with box.ledger() as ledger:
        decide_group(ledger, [JoinBox("comfyledger", "north")], TERMS)
    box.submit("r1", "a text")
    return box


def of_box(box: Box, address: str = "") -> Settings:
    return Settings(
        state_dir=str(box.folder), ledger=LedgerFile(shared=address or box.address), box=BoxSection(name="north")
    )


@NEEDS_POSTGRES
def test_the_database_of_the_tests_has_no_standby_and_an_owner_who_is_a_superuser(north: Box) -> None:
    found = fleet.fleet(of_box(north), {})
    assert [one.verdict for one in found] == ["ok", "warning", "warning", "ok"]
    assert "one machine holds the log" in found[1].sentence
    assert "is a superuser" in found[2].sentence


@NEEDS_POSTGRES
def test_a_database_that_is_away_or_unsafe_is_a_failure_and_shows_no_password(north: Box) -> None:
    away = north.address.replace(f":{conninfo_to_dict(north.address)['port']}/", ":1/")
    (found,) = fleet.fleet(of_box(north, away), {})
    assert found.verdict == "failure"
    assert "cannot be reached" in found.sentence
    assert "password-of-the-tests" not in found.sentence
    (found,) = fleet.fleet(of_box(north, "env:NOTHING"), {})
    assert "no secret at env:NOTHING" in found.sentence


def test_a_file_of_keys_that_is_missing_or_that_others_can_read_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "fleet.keys"
    (found,) = fleet.of_key_file(file)
    assert "are missing" in found.sentence
    assert "fleet join --key-file" in found.mend
    file.touch(mode=0o600)
    assert [*fleet.of_key_file(file)] == []
    file.chmod(0o640)
    (found,) = fleet.of_key_file(file)
    assert (found.verdict, found.mend) == ("failure", f"chmod 600 {file}")


@NEEDS_POSTGRES
def test_where_a_replica_and_the_log_part_is_found(north: Box) -> None:
    whole = seen(north.address, north.path)
    assert whole.own == whole.common == whole.standing.position >= 3
    rows_of(north.address, "ALTER TABLE events DISABLE TRIGGER USER")
    rows_of(north.address, "UPDATE events SET hash = decode('00', 'hex') WHERE position >= 2")
    found = seen(north.address, north.path)
    assert (found.own, found.common) == (whole.own, 1)


@NEEDS_POSTGRES
@NEEDS_BOUNCER
@pytest.mark.parametrize(
    ("mode", "words"), [("transaction", "shares connections"), ("session", "drops the limits of time")]
)
def test_a_pooler_that_loses_what_a_session_says_is_refused(north: Box, tmp_path: Path, mode: str, words: str) -> None:
    with bouncer.bouncer(north.address, tmp_path / "bouncer", mode) as behind:
        (found,) = fleet.fleet(of_box(north, behind), {})
        assert found.verdict == "failure"
        assert words in found.sentence
        with pytest.raises(LedgerUnusable, match=words):
            Box(tmp_path / "south", behind).join(north)
    pooler.check(north.address, 60.0)


@NEEDS_POSTGRES
def test_of_a_box_whose_replica_is_lost_the_doctor_names_the_command_that_makes_it_again(north: Box) -> None:
    north.path.unlink()
    (found,) = fleet.fleet(of_box(north, north.address), {})
    assert (found.verdict, found.mend) == ("failure", "comfyledger fleet join")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@NEEDS_POSTGRES
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_database_that_may_lose_what_it_acknowledged_is_named_and_refused(
    cluster: Cluster, tmp_path: Path, setting: str
) -> None:
    north = Box(tmp_path / "north", cluster.database()).init()
    cluster.set(**{setting: "off"})
    (found,) = fleet.fleet(of_box(north), {})
    assert found.verdict == "failure"
    assert f"{setting}=off" in found.sentence
    assert f"{setting} = on" in found.mend
    with pytest.raises(LedgerUnusable, match=f"{setting}=off"), north.ledger():
        pass


@NEEDS_POSTGRES
def test_a_standby_is_seen_with_any_role_and_missed_when_it_is_away(cluster: Cluster, tmp_path: Path) -> None:
    north = Box(tmp_path / "north", cluster.database()).init()
    cluster.execute("CREATE ROLE visitor LOGIN")
    rows_of(north.address, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO visitor")
    address = north.address.replace(f"{OWNER}:{PASSWORD}", "visitor")
    with running(cluster.standby()):
        cluster.wait_for_standby()
        found = seen(address, north.path)
        assert (found.standbys, found.following) == ("ANY 1 (*)", 1)
    until_without_a_loop(lambda: seen(address, north.path).following == 0, "the standby is away")


@pytest.fixture
def boxes_role() -> Iterator[str]:
    """A role that owns nothing."""
    name = "boxes_of_tests"
    cluster = shared_cluster()
    cluster.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    with psycopg.connect(cluster.address("postgres"), autocommit=True) as connection:
        for (database,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test_%'").fetchall():
            with psycopg.connect(cluster.address(database), autocommit=True) as there:
                there.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    cluster.execute(f"DROP ROLE {name}")


@NEEDS_POSTGRES
def test_a_role_of_the_boxes_can_do_everything_but_change_the_log(boxes_role: str, tmp_path: Path) -> None:
    owner = shared_cluster().database()
    parts = conninfo_to_dict(owner)
    address = f"postgresql://{boxes_role}@127.0.0.1:{parts['port']}/{parts['dbname']}"
    north, south = Box(tmp_path / "north", address), Box(tmp_path / "south", address)
    fleets.init(address, north.path, lambda *_: None, owner=owner)
    south.join(north)
    south.submit("r1", "to be forgotten")
    north.catch_up()
    north.forget("batch-app-r1")
    rows_of(address, "UPDATE wrapping_keys SET is_wanted = true")
    north.tend()
    south.tend()
    assert set(north.in_file()) == set(south.in_file()) == {2}
    found = seen(address, north.path)
    assert found.role == Role(boxes_role, False, False, False, ())
    for change in (
        "UPDATE events SET data = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "ALTER TABLE events DISABLE TRIGGER USER",
        "DROP TABLE events",
        "DELETE FROM names_given",
        "UPDATE fleet SET epoch = 'x'",
    ):
        with closing(psycopg.connect(address)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change.encode())


@NEEDS_POSTGRES
def test_the_statements_of_the_manual_take_a_fleet_from_the_role_of_its_boxes(cluster: Cluster, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "fleet.md").read_text()
    statements = text.partition("REASSIGN OWNED")
    block = statements[0].rpartition("```sql")[2] + statements[1] + statements[2].partition("```")[0]
    cluster.execute("CREATE ROLE comfyledger LOGIN")
    owner = cluster.database()
    name = str(conninfo_to_dict(owner)["dbname"])
    cluster.execute(f"ALTER DATABASE {name} OWNER TO comfyledger")
    address = owner.replace(f"{OWNER}:{PASSWORD}", "comfyledger")
    north = Box(tmp_path / "north", address).init()
    assert seen(address, north.path).role == Role("comfyledger", False, True, True, ())
    with north.ledger() as running_ledger:
        rows_of(owner, block)
        decide_group(running_ledger, [JoinBox("comfyledger", "north")], TERMS)
    assert seen(address, north.path).role == Role("comfyledger", False, False, False, ())


@NEEDS_POSTGRES
def test_each_table_of_a_fleet_has_what_the_role_of_the_boxes_may_do_with_it(north: Box) -> None:
    tables = rows_of(north.address, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert [name for (name,) in tables] == sorted(GRANTS)
