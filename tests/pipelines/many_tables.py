"""A pipeline with a table for each user, and a catalog that does not always give one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.iceberg.audit import audit
from frazil.run.restarts import Restarts
from pyiceberg.catalog.sql import SqlCatalog

from tests.pipelines.events import EVENT_SCHEMA, Event, counted
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from frazil.report import RunReport
    from pyiceberg.table import Table

    from tests.services.duckdb_reader import DuckdbReader


class Moody(SqlCatalog):
    """A catalog that makes no table it is told not to make."""

    refuses: Callable[[str], Exception | None]

    def create_table(self, identifier: Any, *args: Any, **options: Any) -> Table:
        """Make it, or raise what is to be raised."""
        error = self.refuses(".".join(identifier))
        if error is not None:
            raise error
        return super().create_table(identifier, *args, **options)


class ManyTables(Processes):
    """Events go to the tables of their users, ``t.of_u1`` and so on.

    Parameters
    ----------
    partitions
        Of the source.
    folder
        For catalog and tables.
    mode
        "upsert": of each `n` the newest row is kept.
    options
        Of `write_iceberg`.
    """

    def __init__(
        self,
        partitions: Sequence[Sequence[Event]],
        folder: Path,
        *,
        mode: Literal["append", "upsert"] = "append",
        route: fz.Route | None = None,
        **options: Any,
    ) -> None:
        self.partitions = list(partitions)
        properties = {
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog = Moody("default", **properties)
        self.catalog.refuses = lambda name: None
        self.mode = mode
        rows = pa.Table.from_pylist([e for part in partitions for e in part], EVENT_SCHEMA)
        events = fz.read_memory(rows, partitions=max(1, len(partitions)), name="events")
        if mode == "upsert":
            options |= {"mode": "upsert", "key": ["n"]}
        self.sinks = {
            "many": events.filter(col("user").is_not_null()).write_iceberg(
                route or fz.route("t.of_{user}"), catalog=self.catalog, name="many", **options
            )
        }
        self.store = MemoryStore()

    def run(self, **options: Any) -> RunReport:
        """As `Processes.run`, beginning anew where a run does."""
        return Restarts(lambda again: self.coordinator(**options)).run()

    def place(self, user: str) -> Path:
        """The folder of a table's data files."""
        return Path(self.tables()[user].location_provider().data_path.removeprefix("file://"))

    def take_place(self, user: str) -> None:
        """Have nobody write to a table, nor read its rows."""
        folder = self.place(user)
        folder.rename(folder.with_name("away"))
        folder.touch()

    def give_place(self, user: str) -> None:
        """Put it back."""
        folder = self.place(user)
        folder.unlink()
        folder.with_name("away").rename(folder)

    def tables(self) -> dict[str, Table]:
        """Those that are there, by their users."""
        if not self.catalog.namespace_exists("t"):
            return {}
        names = [name for _, name in self.catalog.list_tables("t")]
        return {
            name.removeprefix("of_"): self.catalog.load_table(f"t.{name}") for name in sorted(names)
        }

    def expected(self) -> dict[str, list[Event]]:
        """The rows of each user's table."""
        tables: dict[str, list[Event]] = defaultdict(list)
        for event in (event for part in self.partitions for event in part):
            if event["user"] is not None:
                tables[event["user"]].append(event)
        if self.mode == "append":
            return dict(tables)
        return {
            user: list({event["n"]: event for event in events}.values())
            for user, events in tables.items()
        }

    def check(self, reader: DuckdbReader, users: Sequence[str] | None = None) -> None:
        """As `check_rows`; and the proofs are whole."""
        self.check_rows(reader, users)
        for user, table in self.tables().items():
            if users is None or user in users:
                [report] = audit(table).sinks
                assert not report.problems, (user, report)

    def check_rows(self, reader: DuckdbReader, users: Sequence[str] | None = None) -> None:
        """DuckDB finds the rows of each user, of all or of these."""
        expected = self.expected()
        tables = self.tables()
        if users is None:
            assert tables.keys() == expected.keys()
        for user in expected if users is None else users:
            table = tables[user]
            assert table.current_snapshot() is not None, user
            found = reader.read_iceberg(table.metadata_location).select(EVENT_SCHEMA.names)
            assert _lines(found.to_pylist()) == _lines(expected[user]), user


def _lines(rows: Sequence[Event]) -> Counter[tuple[tuple[str, str], ...]]:
    return counted(rows)
