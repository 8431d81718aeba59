"""A table gets and loses columns while it is mirrored: the mirror follows without a new start."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.connect import Connect
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres

pytestmark = [pytest.mark.service, pytest.mark.slow]

VALUES: dict[str, Callable[[random.Random], Any]] = {
    "integer": lambda chance: chance.randrange(-(2**31), 2**31),
    "bigint": lambda chance: chance.randrange(-(2**63), 2**63),
    "boolean": lambda chance: chance.random() < 0.5,
    "double precision": lambda chance: chance.random() * 1e6,
    "text": lambda chance: chance.choice(["", "x", 'a "b"', "ä\n"]),
}
KEYS = 60
STEPS = 60


class Altered:
    """The table, and the columns that it has by now, with their types."""

    def __init__(self, session: Any, table: str, chance: random.Random) -> None:
        self._session, self._table, self._chance = session, table, chance
        self.columns: dict[str, str] = {}
        self._added = 0

    def step(self) -> None:
        """Some rows, and one time in five another shape."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.12 or not self.columns:
            self._added += 1
            name, type_ = f"c{self._added}", chance.choice(list(VALUES))
            self._session.execute(f"alter table {self._table} add column {name} {type_}")
            self.columns[name] = type_
        elif kind < 0.16:
            name = chance.choice(list(self.columns))
            self._session.execute(f"alter table {self._table} drop column {name}")
            del self.columns[name]
        elif kind < 0.20:
            for name, type_ in self.columns.items():
                if type_ == "integer":
                    change = f"alter table {self._table} alter column {name} type bigint"
                    self._session.execute(change)
                    self.columns[name] = "bigint"
        for _ in range(chance.randint(1, 8)):
            self._put()
        self._session.commit()

    def _put(self) -> None:
        chance = self._chance
        key = chance.randrange(KEYS)
        if chance.random() < 0.15:
            self._session.execute(f"delete from {self._table} where id = %s", [key])
            return
        some = chance.sample(list(self.columns), chance.randint(0, len(self.columns)))
        values = {name: VALUES[self.columns[name]](chance) for name in some}
        values = {"id": key, "name": chance.choice(["a", None]), **values}
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        new = ", ".join(f"{name} = excluded.{name}" for name in values)
        self._session.execute(
            f"insert into {self._table} ({names}) values ({marks}) "
            f"on conflict (id) do update set {new}",
            list(values.values()),
        )


def test_columns_come_and_go(
    postgres: Postgres,
    kafka: Kafka,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    duckdb_reader: DuckdbReader,
) -> None:
    """The pipeline is killed now and then. A column that is gone is null in rows of later."""
    from tests.cdc.mirror import Mirror, PostgresSystem

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    monkeypatch.setattr("tests.cdc.mirror.PROGRAM", Path(__file__).with_name("altered_program.py"))
    table = "altered"
    with postgres.session() as session:
        session.execute(f"create table {table} (id bigint primary key, name text)")
        session.commit()

    class System(PostgresSystem):
        schema = pa.schema([("id", pa.int64()), ("name", pa.string())])

        def __init__(self) -> None:
            self._service, self.table = postgres, table
            self.insert = f"insert into {table} ({{columns}}) values ({{values}})"

    with closing(Mirror(System(), kafka, connect, tmp_path)) as mirror:
        with postgres.session() as session:
            altered = Altered(session, table, chance)
            process = mirror.start()
            for step in range(STEPS):
                altered.step()
                if step % 20 == 10:
                    mirror.await_slots(1, process)
                    process.kill()
                    process.wait()
                    process = mirror.start()
            mirror.await_slots(1, process)  # it is at work
        mirror.mark_end()
        process.terminate()
        assert process.wait(60) == 0
        mirror.finish()
        check(postgres, table, altered.columns, tmp_path, duckdb_reader)


def check(
    postgres: Postgres, table: str, columns: dict[str, str], folder: Path, reader: DuckdbReader
) -> None:
    """The mirror has the rows of the table, in all of the columns that it has at the end."""
    names = ["id", "name", *columns]
    with postgres.session() as session:
        rows = session.execute(f"select {', '.join(names)} from {table}").fetchall()
    wanted = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    catalog = load_catalog(
        "default",
        type="sql",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=f"file://{folder}/warehouse",
    )
    location = catalog.load_table("crm.items").metadata_location
    found = {}
    for row in reader.read_iceberg(location).to_pylist():
        assert row["rest"] is None, row
        assert row["id"] not in found, row
        found[row["id"]] = {name: row.get(name) for name in names}
    assert found == wanted
    assert len(found) > KEYS / 2
