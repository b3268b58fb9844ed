"""What the tests of fleets stand on: clusters of PostgreSQL that die and come back, and a network that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import psycopg
import pytest

from support.postgres import OWNER, POSTGRES, WHY_NOT, Cluster, running, shared_cluster
from support.tcp_proxy import Proxy
from support.waiting import DEADLINE_S, until_without_a_loop

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        one.begin()
        one.execute("CREATE TABLE kept (number integer)")
        yield one


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with closing(Proxy(cluster.port)) as made:
        yield made


def numbers(cluster: Cluster) -> list[int]:
    return [number for (number,) in cluster.execute("SELECT number FROM kept ORDER BY number")]


def through(proxy: Proxy, cluster: Cluster) -> psycopg.Connection:
    return psycopg.connect(proxy.address(cluster.address("postgres")), connect_timeout=int(DEADLINE_S))


def asked(connection: psycopg.Connection) -> Thread:
    """A statement that somebody waits for."""
    thread = Thread(target=connection.execute, args=("SELECT 1",))
    thread.start()
    return thread


# ---- clusters


def test_each_test_has_a_database_of_its_own() -> None:
    first, second = shared_cluster().database(), shared_cluster().database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE here (number integer)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('here')").fetchall() == [(None,)]


def test_a_cluster_is_as_safe_as_in_production_unless_it_is_told_otherwise(cluster: Cluster) -> None:
    said = cluster.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_user")
    assert said == [("on", "on", OWNER)]
    cluster.set(synchronous_commit="off")
    assert cluster.execute("SHOW synchronous_commit") == [("off",)]


def test_what_was_committed_is_there_after_a_kill_and_what_was_not_is_gone(cluster: Cluster) -> None:
    with psycopg.connect(cluster.address("postgres")) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.commit()
        connection.execute("INSERT INTO kept VALUES (2)")
        cluster.restart()
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert numbers(cluster) == [1]


def test_a_frozen_cluster_answers_nobody_until_it_is_thawed(cluster: Cluster) -> None:
    with psycopg.connect(cluster.address("postgres"), autocommit=True) as connection:
        cluster.freeze()
        waiting = asked(connection)
        waiting.join(0.1)
        assert waiting.is_alive()
        cluster.thaw()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()


def test_a_frozen_cluster_can_be_killed_and_comes_back(cluster: Cluster) -> None:
    cluster.execute("INSERT INTO kept VALUES (1)")
    cluster.freeze()
    cluster.restart()
    assert numbers(cluster) == [1]


def test_what_a_synchronous_standby_confirmed_is_there_after_its_promotion(cluster: Cluster) -> None:
    with running(cluster.standby()) as (standby,):
        cluster.wait_for_standby()
        cluster.execute("INSERT INTO kept VALUES (1)")
        cluster.kill()
        standby.promote()
        standby.execute("INSERT INTO kept VALUES (2)")
        assert numbers(standby) == [1, 2]


def test_a_commit_waits_for_a_synchronous_standby_that_is_away(cluster: Cluster) -> None:
    with running(cluster.standby()) as (standby,):
        cluster.wait_for_standby()
        standby.freeze()
        writing = Thread(target=cluster.execute, args=("INSERT INTO kept VALUES (1)",))
        writing.start()
        writing.join(0.1)
        assert writing.is_alive()
        standby.thaw()
        writing.join(DEADLINE_S)
    assert numbers(cluster) == [1]


# ---- the network


def test_a_proxy_passes_everything_on(cluster: Cluster, proxy: Proxy) -> None:
    with through(proxy, cluster) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY kept FROM STDIN") as copy:
            for number in range(50_000):
                copy.write_row((number,))
        assert cursor.execute("SELECT number FROM kept ORDER BY number").fetchall() == [(n,) for n in range(50_000)]
    assert len(numbers(cluster)) == 50_000


def test_in_a_partition_nothing_arrives_and_nothing_is_lost(cluster: Cluster, proxy: Proxy) -> None:
    with through(proxy, cluster) as connection:
        proxy.hold()
        waiting = asked(connection)
        waiting.join(0.1)
        assert waiting.is_alive()
        proxy.pass_on()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()


def test_the_end_of_a_connection_does_not_pass_a_partition(cluster: Cluster, proxy: Proxy) -> None:
    """So a box that goes away in the middle of a transaction leaves its locks behind."""
    holder = through(proxy, cluster)
    holder.execute("LOCK TABLE kept IN EXCLUSIVE MODE")
    proxy.hold()
    holder.close()
    with psycopg.connect(cluster.address("postgres")) as other:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("LOCK TABLE kept IN EXCLUSIVE MODE NOWAIT")
        other.rollback()
        proxy.pass_on()
        other.execute("LOCK TABLE kept IN EXCLUSIVE MODE")


def test_a_proxy_that_refuses_ends_connections_and_takes_no_others(cluster: Cluster, proxy: Proxy) -> None:
    connection = through(proxy, cluster)
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        through(proxy, cluster)
    proxy.pass_on()
    with through(proxy, cluster) as again:
        assert again.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_commit_whose_answer_is_lost_is_in_the_database(cluster: Cluster, proxy: Proxy, pipeline: bool) -> None:
    connection = through(proxy, cluster)
    proxy.lose_next_commit()
    with pytest.raises(psycopg.OperationalError):
        _write_one(connection, pipeline)
    assert proxy.cut.is_set()
    until_without_a_loop(lambda: numbers(cluster) == [1])
    with through(proxy, cluster) as again:
        again.execute("INSERT INTO kept VALUES (2)")
    assert numbers(cluster) == [1, 2]


def _write_one(connection: psycopg.Connection, pipeline: bool) -> None:
    if pipeline:
        with connection.pipeline():
            connection.execute("INSERT INTO kept VALUES (1)")
            connection.commit()
        return
    connection.execute("INSERT INTO kept VALUES (1)")
    connection.commit()
