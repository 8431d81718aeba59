"""A table that clients change becomes an Iceberg table: at the end it has the same rows."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cdc.mirror import Mirror
    from tests.services.connect import Connect
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb
    from tests.services.postgres import Postgres
    from tests.services.rest_catalog import RestCatalog

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeMirror = Callable[..., "Mirror"]


@pytest.fixture
def of_postgres(
    postgres: Postgres, kafka: Kafka, connect: Connect, tmp_path: Path
) -> Iterator[MakeMirror]:
    """Makes the mirror of a new table in PostgreSQL."""
    from tests.cdc.mirror import Mirror, PostgresSystem

    with ExitStack() as made:

        def make(table: str, **options: Any) -> Mirror:
            folder = tmp_path / "postgres"
            folder.mkdir()
            mirror = Mirror(PostgresSystem(postgres, table), kafka, connect, folder, **options)
            made.callback(mirror.close)
            return mirror

        yield make


@pytest.fixture
def of_mariadb(
    mariadb: Mariadb, kafka: Kafka, connect: Connect, tmp_path: Path
) -> Iterator[MakeMirror]:
    """Makes the mirror of a new table in MariaDB."""
    from tests.cdc.mirror import MariadbSystem, Mirror

    with ExitStack() as made:

        def make(table: str, **options: Any) -> Mirror:
            folder = tmp_path / "mariadb"
            folder.mkdir()
            mirror = Mirror(MariadbSystem(mariadb, table), kafka, connect, folder, **options)
            made.callback(mirror.close)
            return mirror

        yield make


def chance_of_now() -> random.Random:
    """Randomness of a seed that a failure shows."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_undisturbed(
    of_postgres: MakeMirror,
    of_mariadb: MakeMirror,
    duckdb_reader: DuckdbReader,
    java_reader: JavaReader,
) -> None:
    from tests.cdc.workload import Clients

    chance = chance_of_now()
    mirrors = [of_postgres("undisturbed"), of_mariadb("undisturbed")]
    with Clients([client for each in mirrors for client in each.clients(3, chance)]):
        processes = [each.start() for each in mirrors]
        for each, process in zip(mirrors, processes, strict=True):
            each.await_slots(8, process)
    for each, process in zip(mirrors, processes, strict=True):
        each.mark_end()
        each.await_started(process)
        process.terminate()
        assert process.wait(60) == 0
        each.finish()
        assert each.check(duckdb_reader, java_reader) > 30
    assert mirrors[0].unsent() > 10


def test_killed(
    of_postgres: MakeMirror,
    of_mariadb: MakeMirror,
    kafka: Kafka,
    connect: Connect,
    duckdb_reader: DuckdbReader,
) -> None:
    """Pipelines, Connect and the broker are killed while clients change the tables."""
    from tests.cdc.mirror import PLAIN
    from tests.cdc.workload import Clients

    chance = chance_of_now()
    mirrors = [of_postgres("killed"), of_mariadb("killed", **PLAIN)]
    processes = [each.start() for each in mirrors]

    def kill_pipelines() -> None:
        for number, each in enumerate(mirrors):
            processes[number].kill()
            processes[number].wait()
            processes[number] = each.start()

    def kill_connect() -> None:
        connect.kill()
        connect.start()

    def kill_broker() -> None:
        kafka.kill()
        kafka.start()

    kills = [kill_pipelines, kill_connect, kill_broker, kill_pipelines, kill_connect]
    chance.shuffle(kills)
    with Clients([client for each in mirrors for client in each.clients(3, chance)]):
        for kill in kills:
            for each, process in zip(mirrors, processes, strict=True):
                each.await_slots(chance.randint(1, 4), process)
            time.sleep(chance.uniform(0, 0.3))
            kill()
    for each, process in zip(mirrors, processes, strict=True):
        each.mark_end()
        each.await_started(process)
        process.terminate()
        assert process.wait(60) == 0
        each.finish()
        assert each.check(duckdb_reader) > 30


def test_catalog_killed(
    of_postgres: MakeMirror,
    local_rest_catalog: RestCatalog,
    kafka: Kafka,
    connect: Connect,
    duckdb_reader: DuckdbReader,
    java_reader: JavaReader,
) -> None:
    """The catalog is killed too, in the midst of commits, and is away for some epochs."""
    from tests.cdc.workload import Clients

    chance = chance_of_now()
    catalog = local_rest_catalog
    mirror = of_postgres("cataloged", catalog=catalog.properties)
    process = mirror.start()

    def kill_catalog() -> None:
        catalog.kill()
        mirror.await_slots(chance.randint(0, 3), process)  # epochs wait in the log
        catalog.start()

    def kill_pipeline_without_catalog() -> None:
        nonlocal process
        catalog.kill()
        process.kill()
        process.wait()
        catalog.start()
        process = mirror.start()

    def kill_connect() -> None:
        connect.kill()
        connect.start()

    def kill_broker() -> None:
        kafka.kill()
        kafka.start()

    kills = [kill_catalog, kill_pipeline_without_catalog, kill_catalog, kill_connect, kill_broker]
    chance.shuffle(kills)
    with Clients(mirror.clients(3, chance)):
        for kill in kills:
            mirror.await_slots(chance.randint(1, 4), process)
            time.sleep(chance.uniform(0, 0.3))
            kill()
    mirror.mark_end()
    mirror.await_started(process)
    process.terminate()
    assert process.wait(60) == 0
    mirror.finish()
    assert mirror.check(duckdb_reader, java_reader) > 30


def test_truncates_applied(
    of_postgres: MakeMirror,
    of_mariadb: MakeMirror,
    duckdb_reader: DuckdbReader,
    java_reader: JavaReader,
) -> None:
    """A truncate has no key and may be in any partition: where it stands in the log counts."""
    from tests.cdc.workload import Clients

    chance = chance_of_now()
    options = {"truncates": "apply", "skipped.operations": "none"}
    mirrors = [make("emptied", **options) for make in (of_postgres, of_mariadb)]
    clients = [c for each in mirrors for c in each.clients(3, chance, truncates=0.02)]
    processes = [each.start() for each in mirrors]
    with Clients(clients):
        for each, process in zip(mirrors, processes, strict=True):
            each.await_slots(3, process)
        for number, each in enumerate(mirrors):
            processes[number].kill()
            processes[number].wait()
            processes[number] = each.start()
        for each, process in zip(mirrors, processes, strict=True):
            each.await_slots(3, process)
    for each, process in zip(mirrors, processes, strict=True):
        each.mark_end()
        each.await_started(process)
        process.terminate()
        assert process.wait(60) == 0
        each.finish()
        assert each.check(duckdb_reader, java_reader) >= 16
        assert each.truncates() > 0


def test_truncated(of_postgres: MakeMirror) -> None:
    """A connector that is told to send it: the run ends with an error that says what to do."""
    mirror = of_postgres("truncated", **{"skipped.operations": "none"})
    session = mirror.system.session()
    session.execute("insert into truncated (id, name) values (1, 'a')")
    session.execute("truncate truncated")
    session.commit()
    session.close()
    mirror.mark_end()
    text = mirror.fail()
    assert re.search(rf"decoding {re.escape(mirror.topic)}-\d@\d+: the table was truncated", text)
    assert 'truncates="apply"' in text


def test_key_with_large_value(of_postgres: MakeMirror) -> None:
    """A row with a large value gets another key: the value is not sent, and nobody makes one up."""
    mirror = of_postgres("moved")
    session = mirror.system.session()
    session.execute("insert into moved (id, name, note) values (1, 'a', repeat('x', 9000))")
    session.execute("update moved set id = 2")
    session.commit()
    session.close()
    mirror.mark_end()
    text = mirror.fail()
    assert 'id=2: column "note" was not sent' in text
    assert "REPLICA IDENTITY FULL" in text


def test_key_with_large_value_sent_whole(
    of_postgres: MakeMirror, duckdb_reader: DuckdbReader
) -> None:
    """With what that error advises, rows keep their large values under their new keys."""
    mirror = of_postgres("sent_whole")
    session = mirror.system.session()
    session.execute("alter table sent_whole replica identity full")
    session.commit()
    insert = "insert into sent_whole (id, name, note) values (%s, 'a', repeat(%s, 9000))"
    for key in range(20):
        session.execute(insert, [key, chr(ord("a") + key)])
    session.commit()
    session.execute("update sent_whole set id = id + 100")
    session.execute("update sent_whole set name = 'b' where id < 110")
    session.execute("update sent_whole set id = id + 100 where id < 105")
    session.commit()
    session.close()
    mirror.mark_end()
    mirror.finish()
    assert mirror.check(duckdb_reader) == 36
