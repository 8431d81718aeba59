"""The workloads in Flink's SQL: a table of events, an Iceberg table, and the query between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.systems.system import Input

CATALOG = "ice"
DATABASE = f"{CATALOG}.bench"

WARM_JOBS = 3
"""How often the job is done over a few events before it is measured: W2 over 600,000 events took
25.6, 10.5, 6.3 and 6.0 CPU s one after the other, so that from the third time on the JVM is warm.
"""

# As the other systems write: zstd at its first level.
TABLE_OPTIONS = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "1",
}

SESSIONS = (
    "SESSION(TABLE {events} PARTITION BY `user`, DESCRIPTOR(event_time), INTERVAL '30' SECOND)"
)


@dataclass(frozen=True)
class Workload:
    """A workload.

    Attributes
    ----------
    reads
        Columns of the events, and what is computed of them.
    writes
        Columns of the table.
    query
        Its rows, of the table `{events}`.
    """

    reads: Sequence[str]
    writes: Sequence[str]
    query: str


# Flink's watermark lets a window be closed when it has reached its last millisecond, ours when it
# has reached its end: with a millisecond more the same rows are late.
WORKLOADS = {
    "w1": Workload(
        reads=(
            *("id BIGINT", "ts BIGINT", "`user` STRING", "page STRING", "country STRING"),
            *("amount DOUBLE", "quantity BIGINT"),
        ),
        writes=(
            *("id BIGINT", "ts TIMESTAMP_LTZ(6)", "`user` STRING", "page STRING"),
            *("country STRING", "amount DOUBLE", "quantity BIGINT", "total DOUBLE"),
        ),
        query=(
            "SELECT id, TO_TIMESTAMP_LTZ(ts, 3), `user`, page, country, amount, quantity, "
            "amount * quantity FROM {events} WHERE amount > 10"
        ),
    ),
    "w2": Workload(
        reads=(
            *("ts BIGINT", "page STRING", "amount DOUBLE", "event_time AS TO_TIMESTAMP_LTZ(ts, 3)"),
            "WATERMARK FOR event_time AS event_time - INTERVAL '2.001' SECOND(1, 3)",
        ),
        writes=(
            *("page STRING", "window_start TIMESTAMP(6)", "window_end TIMESTAMP(6)"),
            *("events BIGINT", "revenue DOUBLE"),
        ),
        query=(
            "SELECT page, window_start, window_end, count(*), sum(amount) "
            "FROM TABLE(TUMBLE(TABLE {events}, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
            "GROUP BY page, window_start, window_end"
        ),
    ),
    "w3": Workload(
        reads=(
            *("ts BIGINT", "`user` STRING", "event_time AS TO_TIMESTAMP_LTZ(ts, 3)"),
            "WATERMARK FOR event_time AS event_time - INTERVAL '5.001' SECOND(1, 3)",
        ),
        writes=(
            *("`user` STRING", "window_start TIMESTAMP(6)", "window_end TIMESTAMP(6)"),
            "events BIGINT",
        ),
        query=(
            f"SELECT `user`, window_start, window_end, count(*) FROM TABLE({SESSIONS}) "
            "GROUP BY `user`, window_start, window_end"
        ),
    ),
}


def statements(workload: str, given: Input, warm: Path, out: Path) -> list[str]:
    """All that a run does: the same job over a few events first, into a table of its own."""
    job = WORKLOADS[workload]
    made = catalog(out)
    for name, table, source, times in (
        ("few", "warm", Input(0, path=warm), WARM_JOBS),
        ("events", workload, given, 1),
    ):
        made.append(events_table(name, job.reads, source_options(source)))
        made.append(iceberg_table(table, job.writes))
        made += [insert(table, job.query.format(events=name))] * times
    return made


def catalog(out: Path) -> list[str]:
    """A catalog of files, without a server, and the database of the tables in it."""
    options = _options(
        {"type": "iceberg", "catalog-type": "hadoop", "warehouse": f"file://{out}/warehouse"}
    )
    return [f"CREATE CATALOG {CATALOG} WITH ({options})", f"CREATE DATABASE {DATABASE}"]


def source_options(given: Input) -> dict[str, str]:
    """Where the events of an input are, and in which format."""
    if given.path is not None:
        return file_options(given.path, "json")
    servers, topic = given.kafka()
    return {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": servers,
        "properties.group.id": "bench",
        "scan.startup.mode": "earliest-offset",
        "scan.bounded.mode": "latest-offset",
        "scan.watermark.emit.strategy": "on-event",
        "format": "json",
    }


def file_options(path: Path, format_: str) -> dict[str, str]:
    """A file, or a folder of them, each read as a whole."""
    return {"connector": "filesystem", "path": f"viewfs://whole{path}", "format": format_}


def events_table(name: str, columns: Sequence[str], options: dict[str, str]) -> str:
    """DDL of a table of events."""
    return f"CREATE TABLE {name} ({', '.join(columns)}) WITH ({_options(options)})"


def iceberg_table(name: str, columns: Sequence[str], options: dict[str, str] | None = None) -> str:
    """DDL of a table of results, with options beside those of all tables."""
    chosen = _options({**TABLE_OPTIONS, **(options or {})})
    return f"CREATE TABLE {DATABASE}.{name} ({', '.join(columns)}) WITH ({chosen})"


def insert(table: str, query: str) -> str:
    """The job itself."""
    return f"INSERT INTO {DATABASE}.{table} {query}"


def table_files(table: str, out: Path) -> list[Path]:
    """The files of a table's current snapshot."""
    from pyiceberg.table import StaticTable

    metadata = out / "warehouse" / "bench" / table / "metadata"
    version = int((metadata / "version-hint.text").read_text())
    loaded = StaticTable.from_metadata(f"file://{metadata}/v{version}.metadata.json")
    tasks = loaded.scan().plan_files()
    return [Path(task.file.file_path.removeprefix("file:")) for task in tasks]


def _options(options: dict[str, str]) -> str:
    for value in options.values():
        if "'" in value:
            raise ValueError(f"an option for Flink is {value}: it must not have an apostrophe")
    return ", ".join(f"'{name}' = '{value}'" for name, value in options.items())
