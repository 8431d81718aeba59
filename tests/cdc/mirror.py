"""A table of a database and its mirror: connector, topic, pipeline process and Iceberg table."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pymysql
from frazil.schema import resolve
from pyiceberg.catalog import load_catalog

from tests.cdc.tables import (
    MARIADB_DDL,
    POSTGRES_DDL,
    MariadbItem,
    PostgresItem,
    source_rows,
)
from tests.cdc.workload import MARKS, MARKS_BEGIN, Client, put
from tests.services.mariadb import DATABASE
from tests.services.rows import arrow_rows, sorted_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.services.connect import Connect
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb
    from tests.services.postgres import Postgres

PAGE = Path(__file__).parents[2] / "docs" / "debezium-to-iceberg.md"
PROGRAM = Path(__file__).with_name("mirror_program.py")
PARTITIONS = 2
# Seconds something may take that is waited for; reached only when a test fails.
PATIENCE_S = 90.0


def page_config(name: str) -> dict[str, str]:
    """A connector's configuration as the documentation has it."""
    blocks = PAGE.read_text().split("```json\n")[1:]
    configs: list[dict[str, str]] = [json.loads(block.partition("```")[0]) for block in blocks]
    [found] = [each for each in configs if f"connector.{name}" in each["connector.class"]]
    return found


class System(Protocol):
    """A database with one table of items."""

    name: str
    schema: pa.Schema
    insert: str
    conflict: tuple[type[Exception], ...]

    def session(self) -> Any: ...
    def config(self, kafka: Kafka) -> tuple[str, dict[str, str]]: ...


class PostgresSystem:
    """PostgreSQL with the replica identity that tables have by default."""

    name = "postgres"
    schema = resolve(PostgresItem)
    conflict = (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected)

    def __init__(self, service: Postgres, table: str) -> None:
        self._service, self.table = service, table
        self.insert = (
            f"insert into {table} ({{columns}}) values ({{values}}) on conflict do nothing"
        )
        with service.session() as session:
            session.execute(POSTGRES_DDL.format(name=table))
            # Only what is large is stored apart, and that always.
            session.execute(f"alter table {table} alter column note set storage external")

    def session(self) -> Any:
        """Open a session."""
        return self._service.session()

    def config(self, kafka: Kafka) -> tuple[str, dict[str, str]]:
        """The topic and the connector's configuration."""
        prefix = f"pg{self.table}"
        config = page_config(self.name) | self._service.connector(f"public.{self.table}")
        slot = {"slot.name": prefix, "publication.name": prefix}
        return f"{prefix}.public.{self.table}", {**config, **slot, "topic.prefix": prefix}


class MariadbSystem:
    """MariaDB."""

    name = "mariadb"
    schema = resolve(MariadbItem)
    conflict = (pymysql.err.IntegrityError, pymysql.err.OperationalError)

    def __init__(self, service: Mariadb, table: str) -> None:
        self._service, self.table = service, table
        self.insert = f"insert ignore into {table} ({{columns}}) values ({{values}})"
        session = service.session()
        session.cursor().execute(MARIADB_DDL.format(name=table))
        session.close()

    def session(self) -> Any:
        """Open a session."""
        return self._service.session()

    def config(self, kafka: Kafka) -> tuple[str, dict[str, str]]:
        """The topic and the connector's configuration."""
        prefix = f"my{self.table}"
        number = 100 + sum(self.table.encode()) % 1_000
        config = page_config(self.name) | self._service.connector(
            f"{DATABASE}.{self.table}", bootstrap=kafka.bootstrap, server_id=number
        )
        kafka.create_topic(prefix)  # of changes of the schema
        kafka.create_topic(f"history-{number}", config={"retention.ms": "-1"})
        return f"{prefix}.{DATABASE}.{self.table}", {**config, "topic.prefix": prefix}


# Events without schemas, and decimals that can be told without.
PLAIN = {"value.converter.schemas.enable": "false", "decimal.handling.mode": "string"}


class Mirror:
    """The way from the table to its mirror. `close()` ends what it has started."""

    def __init__(
        self,
        system: Any,
        kafka: Kafka,
        connect: Connect,
        folder: Path,
        *,
        catalog: Mapping[str, str] | None = None,
        truncates: str = "stop",
        **options: str,
    ) -> None:
        self.system = system
        self._kafka, self._connect, self._folder = kafka, connect, folder
        self.topic, config = system.config(kafka)
        kafka.create_topic(self.topic, partitions=PARTITIONS)
        self._connector = f"{system.name}-{system.table}"
        config |= {
            "tasks.max": "1",
            "heartbeat.interval.ms": "500",
            "provide.transaction.metadata": "true",
            **options,
        }
        kafka.create_topic(f"__debezium-heartbeat.{config['topic.prefix']}")
        kafka.create_topic(f"{config['topic.prefix']}.transaction")
        connect.connect(self._connector, config)
        self._catalog = dict(catalog or {}) or {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": f"file://{folder}/warehouse",
        }
        self._table = f"crm.{system.name}_{system.table}"
        self._environment = {
            **os.environ,
            "CDC_CATALOG": json.dumps(self._catalog),
            "CDC_TABLE": self._table,
            "CDC_TRUNCATES": truncates,
            "CDC_SYSTEM": system.name,
            "CDC_TOPIC": self.topic,
            "CDC_SERVERS": kafka.bootstrap,
            "CDC_FOLDER": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """End the pipeline's processes, and remove the connector."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._connect.running:
            self._connect.remove(self._connector)

    def clients(self, count: int, chance: random.Random, *, truncates: float = 0) -> list[Client]:
        """Clients that change the table; such a share of their statements truncates it."""
        system = self.system
        return [
            Client(
                system.session,
                system.table,
                system.schema.names,
                system.insert,
                system.conflict,
                chance.getrandbits(32),
                truncates,
            )
            for _ in range(count)
        ]

    # -- the pipeline's process

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a process of the pipeline."""
        argv = [sys.executable, "-m", "frazil", "run", str(PROGRAM), *options]
        with self._log(len(self._processes)).open("wb") as log:
            process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def finish(self) -> None:
        """Run the pipeline to the end of the topic."""
        process = self.start("--until", "now")
        code = process.wait(PATIENCE_S)
        assert code == 0, self._log(self._processes.index(process)).read_text()

    def fail(self) -> str:
        """Run the pipeline, which ends with an error; return what it says."""
        process = self.start("--until", "now")
        code, log = process.wait(PATIENCE_S), self._log(self._processes.index(process))
        assert code != 0, log.read_text()
        return log.read_text()

    def slots(self) -> int:
        """The newest slot of the checkpoint log; 0 if there is none."""
        log = self._folder / "checkpoints" / "items" / "log"
        return max((int(path.stem) for path in log.glob("*")), default=0)

    def await_slots(self, count: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until the log has grown by so many slots, or the process has nothing more to do."""
        wanted = self.slots() + count
        deadline = time.monotonic() + PATIENCE_S
        while self.slots() < wanted:
            log = self._log(self._processes.index(process))
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def await_started(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it runs, and so takes a signal as a wish to end."""
        log = self._log(self._processes.index(process))
        deadline = time.monotonic() + PATIENCE_S
        while '"event": "started"' not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def _log(self, number: int) -> Path:
        return self._folder / f"process-{number}.log"

    # -- the end

    def mark_end(self) -> None:
        """Put rows into the table behind all others, and wait until they are in the topic.

        There are so many that each partition has one, and a partition is in the table's order.
        """
        session = self.system.session()
        cursor = session.cursor()
        chance = random.Random(1)
        for number in range(MARKS):
            key = MARKS_BEGIN + number
            put(cursor, self.system.insert, self.system.schema.names, key, chance)
        session.commit()
        session.close()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            messages = [message.key() for message in self._kafka.read(self.topic)]
            keys = {self._key(key) for key in messages if key is not None}  # a truncate has none
            if sum(key >= MARKS_BEGIN for key in keys) == MARKS:
                return
            assert self._connect.running
            self._connect.wait_running(self._connector)  # says why if it has failed
            assert time.monotonic() < deadline, f"only {len(keys)} keys in {self.topic}"
            time.sleep(0.1)

    @staticmethod
    def _key(key: str | bytes) -> int:
        found: Mapping[str, Any] = json.loads(key)
        return int(found.get("payload", found)["id"])

    def unsent(self) -> int:
        """How many messages have a value that was not sent."""
        values = [message.value() or b"" for message in self._kafka.read(self.topic)]
        return sum(b"__debezium_unavailable_value" in bytes(value) for value in values)

    def truncates(self) -> int:
        """How many messages say that the table was truncated."""
        return sum(message.key() is None for message in self._kafka.read(self.topic))

    def check(self, duckdb: DuckdbReader, java: JavaReader | None = None) -> int:
        """The mirror has just the rows of the table; return how many."""
        session = self.system.session()
        rows = source_rows(session, self.system.table, self.system.schema)
        session.close()
        catalog = load_catalog("default", **self._catalog)
        location = catalog.load_table(self._table).metadata_location
        names = self.system.schema.names
        same_rows(arrow_rows(duckdb.read_iceberg(location).select(names)), rows)
        if java is not None:
            # Where there are deletes, its rows have where they stand in their file too.
            same_rows([{n: row[n] for n in names} for row in java.read(location)], rows)
        return len(rows)


def same_rows(found: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> None:
    """Two lists have the same rows; the first one that differs is shown."""
    by_id = {row["id"]: row for row in wanted}
    for row in found:
        other = by_id.get(row["id"], {})
        differ = {
            name: (row[name], other.get(name)) for name in row if row[name] != other.get(name)
        }
        assert not differ, f"row {row['id']}: {differ}"
    assert sorted_lines(found) == sorted_lines(wanted)
