"""A pipeline whose tables are given columns while it runs, by an unwilling catalog."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import frazil as fz
import pyarrow as pa
from frazil import col
from frazil.checkpoint.memory_store import MemoryStore
from frazil.iceberg.audit import audit
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table.update import AddSchemaUpdate

from tests.pipelines.events import EVENT_SCHEMA, Event
from tests.pipelines.processes import Processes

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from tests.services.duckdb_reader import DuckdbReader

EVOLVE = fz.Drift(
    on_new_column="evolve", on_wider_type="evolve", on_type_conflict="ignore", expand="user"
)

Trouble = Literal["", "refused", "lost"]


class Reluctant(SqlCatalog):
    """A catalog that does not change schemas, or does and does not say so, when it is told to."""

    trouble: Callable[[str], Trouble]
    before: Callable[[], None]

    def commit_table(self, table: Any, requirements: Any, updates: Any) -> Any:
        """Do it, or raise what a broken line looks like."""
        if not any(isinstance(update, AddSchemaUpdate) for update in updates):
            return super().commit_table(table, requirements, updates)
        self.before()
        trouble = self.trouble(".".join(table.name()))
        if trouble == "refused":
            raise OSError("the line is broken")
        done = super().commit_table(table, requirements, updates)
        if trouble == "lost":
            raise OSError("the line broke")
        return done


class Expanding(Processes):
    """Events whose `user` is a JSON object: its fields become columns.

    Parameters
    ----------
    partitions
        Of the source.
    folder
        For catalog and tables.
    mode
        "upsert": of each `n` the newest row is kept.
    many
        Rows go to three tables by their ids.
    drift
        What is done about the fields.
    """

    def __init__(
        self,
        partitions: Sequence[Sequence[Event]],
        folder: Path,
        *,
        mode: Literal["append", "upsert"] = "append",
        many: bool = False,
        drift: fz.Drift = EVOLVE,
        **options: Any,
    ) -> None:
        self.partitions = list(partitions)
        properties = {
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog = Reluctant("default", **properties)
        self.catalog.trouble = lambda name: ""
        self.catalog.before = lambda: None
        self.mode, self.many = mode, many
        rows = pa.Table.from_pylist([e for part in partitions for e in part], EVENT_SCHEMA)
        events = fz.read_memory(rows, partitions=max(1, len(partitions)), name="events")
        if mode == "upsert":
            options |= {"mode": "upsert", "key": ["n"]}
        table: Any = "t.all"
        if many:
            events = events.with_columns(part=(col("n") % 3).cast(str))
            table = fz.route("t.of_{part}")
        self.sinks = {
            "rows": events.write_iceberg(
                table, catalog=self.catalog, name="rows", drift=drift, **options
            )
        }
        self.store = MemoryStore()

    def tables(self) -> dict[str, Table]:
        """Those that are there, by their names."""
        if not self.catalog.namespace_exists("t"):
            return {}
        names = sorted(name for _, name in self.catalog.list_tables("t"))
        return {name: self.catalog.load_table(f"t.{name}") for name in names}

    def expected(self) -> dict[str, list[Event]]:
        """The events of each table."""
        tables: dict[str, list[Event]] = defaultdict(list)
        for event in (event for part in self.partitions for event in part):
            tables[f"of_{event['n'] % 3}" if self.many else "all"].append(event)
        if self.mode == "append":
            return dict(tables)
        return {
            name: list({event["n"]: event for event in events}.values())
            for name, events in tables.items()
        }

    def check(self, reader: DuckdbReader, in_columns: Sequence[str] = ()) -> None:
        """DuckDB finds each event once, with all of its fields, in columns or in the rest.

        Parameters
        ----------
        in_columns
            Fields that have to be in a column wherever they are.
        """
        expected, tables = self.expected(), self.tables()
        assert tables.keys() == expected.keys()
        for name, events in expected.items():
            [report] = audit(tables[name]).sinks
            assert not report.problems, (name, report)
            rows = reader.read_iceberg(tables[name].metadata_location).to_pylist()
            assert _counted(map(_whole, rows)) == _counted(map(_fields, events)), name
            for row in rows:
                assert not set(json.loads(row["user"] or "{}")) & set(in_columns), row


def _fields(event: Event) -> dict[str, Any]:
    """What a row has to have of an event: null is as if there were nothing."""
    fields = json.loads(event["user"] or "{}")
    known = {"id": event["id"], "n": event["n"]}
    return {**known, **{name: value for name, value in fields.items() if value is not None}}


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of a table has, its rest taken apart again. Objects are text in columns."""
    found = json.loads(row["user"] or "{}")
    for name, value in row.items():
        if name in ("user", "at", "x", "part") or value is None:
            continue
        assert name not in found, row
        is_json = isinstance(value, str) and value.startswith(("[", "{"))
        found[name] = json.loads(value) if is_json else value
    return found


def _counted(rows: Any) -> Counter[str]:
    return Counter(
        json.dumps({name: _number(value) for name, value in row.items()}, sort_keys=True)
        for row in rows
    )


def _number(value: Any) -> Any:
    """An integer in a column of doubles is what it was."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
