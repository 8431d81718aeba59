"""Pipelines with what they have to give, computed by plain Python over the same rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.compute as pc

Row = Mapping[str, Any]

ROWS: list[Row] = [
    {"id": n, "user": f"u{n * 7 % 23}", "amount": None if n % 11 == 0 else n % 50 - 10.25}
    for n in range(97)
]
OTHERS: list[Row] = [{"id": 1000 + n, "user": None, "amount": n / 4} for n in range(31)]
SCHEMA = {"id": int, "user": str | None, "amount": float | None}


def _second(n: int) -> int:
    return max(0, n - (0, 0, 2, 0, 40, 9, 0)[n % 7])


@dataclass(frozen=True)
class Golden:
    """Sinks by name, and the rows each of them has to have at the end."""

    sinks: Mapping[str, fz.Sink]
    expected: Mapping[str, list[Row]]


Build = Callable[[Mapping[str, str]], Golden]


def rows(partitions: int = 3) -> fz.Stream:
    return fz.read_memory(ROWS, schema=SCHEMA, partitions=partitions, name="rows")


def others() -> fz.Stream:
    return fz.read_memory(OTHERS, schema=SCHEMA, name="others")


def copied(catalog: Mapping[str, str]) -> Golden:
    """One table."""
    return Golden({"t.all": rows().write_iceberg("t.all", catalog=catalog)}, {"t.all": ROWS})


def filtered(catalog: Mapping[str, str]) -> Golden:
    """A filter, a computed column, a choice of columns."""
    stream = (
        rows()
        .filter(fz.col("amount") > 5)
        .with_columns(twice=fz.col("amount") * 2)
        .select("id", "twice")
    )
    wanted = [
        {"id": row["id"], "twice": row["amount"] * 2}
        for row in ROWS
        if row["amount"] is not None and row["amount"] > 5
    ]
    return Golden({"t.f": stream.write_iceberg("t.f", catalog=catalog)}, {"t.f": wanted})


def united(catalog: Mapping[str, str]) -> Golden:
    """Two sources into one table."""
    sink = rows(2).union(others()).write_iceberg("t.u", catalog=catalog)
    return Golden({"t.u": sink}, {"t.u": [*ROWS, *OTHERS]})


def distributed(catalog: Mapping[str, str]) -> Golden:
    """An exchange by partition, behind a filter."""
    sink = (
        rows()
        .filter(fz.col("id") % 3 != 0)
        .write_iceberg(
            "t.d", catalog=catalog, partition_by="bucket(5, user)", distribute_by="partition"
        )
    )
    return Golden({"t.d": sink}, {"t.d": [row for row in ROWS if row["id"] % 3 != 0]})


def _absolute(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [batch["id"], pc.abs(batch["amount"])]
    return pa.record_batch(columns, names=["id", "amount"])


def mapped(catalog: Mapping[str, str]) -> Golden:
    """A Python function over batches, and a filter of its results."""
    stream = (
        rows()
        .map_batches(_absolute, schema={"id": int, "amount": float | None})
        .filter(fz.col("amount") < 8)
    )
    wanted = [
        {"id": row["id"], "amount": abs(row["amount"])}
        for row in ROWS
        if row["amount"] is not None and abs(row["amount"]) < 8
    ]
    return Golden({"t.m": stream.write_iceberg("t.m", catalog=catalog)}, {"t.m": wanted})


def fanned(catalog: Mapping[str, str]) -> Golden:
    """One stream into two tables, and a part of it into a third."""
    stream = rows()
    return Golden(
        {
            "t.a": stream.write_iceberg("t.a", catalog=catalog),
            "t.b": stream.select("id").write_iceberg("t.b", catalog=catalog),
            "t.c": stream.filter(fz.col("user") == "u7").write_iceberg("t.c", catalog=catalog),
        },
        {
            "t.a": ROWS,
            "t.b": [{"id": row["id"]} for row in ROWS],
            "t.c": [row for row in ROWS if row["user"] == "u7"],
        },
    )


def diamond(catalog: Mapping[str, str]) -> Golden:
    """A stream parts and comes together again: rows of both ways, each once."""
    stream = rows(2)
    small = stream.filter(fz.col("id") < 40)
    large = stream.filter(fz.col("id") >= 30).with_columns(id=fz.col("id") + 500)
    sink = small.union(large).write_iceberg(
        "t.v", catalog=catalog, partition_by="user", distribute_by="partition"
    )
    wanted = [row for row in ROWS if row["id"] < 40]
    wanted += [{**row, "id": row["id"] + 500} for row in ROWS if row["id"] >= 30]
    return Golden({"t.v": sink}, {"t.v": wanted})


def generated(catalog: Mapping[str, str]) -> Golden:
    """The generator, narrowed."""
    stream = fz.read_generator(rows=120, partitions=3).filter(fz.col("id") >= 20).select("id")
    wanted = [{"id": n} for n in range(20, 120)]
    return Golden({"t.g": stream.write_iceberg("t.g", catalog=catalog)}, {"t.g": wanted})


# Lines of a file in turn, by kind: of them every fifth cannot be decoded.
LINES = [
    '{{"id": {n}, "user": "u{n}", "amount": {n}.5}}',
    '{{"id": {n}, "user": null, "amount": null}}',
    '{{"id": "{n}", "user": "u"}}',
    '{{"amount": {n}, "note": [{n}], "user": "ä", "id": {n}}}',
    "",
]


def file_lines(folder: Path) -> dict[str, list[str]]:
    """Files in two folders, the last lines of which have no end; made once."""
    made: dict[str, list[str]] = {}
    for number in range(10):
        path = folder / "in" / "ab"[number % 2] / f"{number}.jsonl"
        lines = [LINES[n % 5].format(n=n) for n in range(number * 11, number * 11 + 7 + number % 2)]
        made[str(path)] = lines
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text("\n".join(lines))
    return made


def _file_row(path: str, line: str, offset: int) -> Row:
    read = json.loads(line)
    row = {name: read.get(name) for name in ("id", "user", "amount")}
    if row["amount"] is not None:
        row["amount"] = float(row["amount"])
    return {**row, "_path": path, "_offset": offset}


def filed(catalog: Mapping[str, str]) -> Golden:
    """Files of JSON lines in two lanes; bad rows into a table of their own."""
    folder = Path(catalog["warehouse"].removeprefix("file://")).parent
    good: list[Row] = []
    bad: list[Row] = []
    for path, lines in file_lines(folder).items():
        offset = 0
        for line in lines:
            if '"id": "' in line:
                place = {"partition": path, "position": offset}
                bad.append({**place, "column": "id", "raw": line.encode()})
            elif line:
                good.append(_file_row(path, line, offset))
            offset += len(line.encode()) + 1
    stream = fz.read_files(
        f"{folder}/in/**",
        format="json",
        schema=SCHEMA,
        lanes="by_folder",
        metadata=["path", "offset"],
        name="files",
    )
    rejected = stream.rejected.select("partition", "position", "column", "raw")
    sinks = {
        "t.files": stream.write_iceberg("t.files", catalog=catalog),
        "t.bad": rejected.write_iceberg("t.bad", catalog=catalog),
    }
    return Golden(sinks, {"t.files": good, "t.bad": bad})


BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# A second a row, out of order by up to 40 s; dealt to three partitions in turn.
TIMED: list[Row] = [
    {**row, "at": BEGIN + timedelta(seconds=_second(row["id"]), microseconds=row["id"])}
    for row in ROWS
]
OUT_OF_ORDER, SIZE, EVERY = timedelta(seconds=5), timedelta(seconds=20), timedelta(seconds=10)


def _windows_of(row: Row) -> list[datetime]:
    """Ends of the hopping windows that a row is in."""
    first = row["at"] - (row["at"] - BEGIN) % EVERY + EVERY
    return [first, first + EVERY]


def windowed(catalog: Mapping[str, str]) -> Golden:
    """Hopping windows, what is too late for them, and larger windows of the windows."""
    timed = fz.read_memory(
        TIMED, schema={**SCHEMA, "at": pa.timestamp("us", "UTC")}, partitions=3, name="timed"
    ).event_time("at", out_of_order="5s")
    windows = timed.group_by("user").window(fz.hopping("20s", every="10s"))
    small = windows.agg(rows=fz.count(), total=fz.col("amount").sum(), last=fz.col("id").last())
    large = small.group_by().window(fz.tumbling("40s")).agg(rows=fz.col("rows").sum())
    groups: dict[tuple[str, datetime], list[Row]] = {}
    late: list[Row] = []
    frontiers = []
    for p in range(3):
        frontier = None
        for position, row in enumerate(TIMED[p::3]):
            for end in _windows_of(row):
                if frontier is not None and end <= frontier - OUT_OF_ORDER:
                    missed = {"window_start": end - SIZE, "window_end": end}
                    where = {"partition": f"memory-{p}", "position": position}
                    late.append({**row, **missed, "watermark": frontier - OUT_OF_ORDER, **where})
                else:
                    groups.setdefault((row["user"], end), []).append(row)
            frontier = max(frontier or row["at"], row["at"])
        frontiers.append(frontier)
    reached = min(frontier for frontier in frontiers if frontier) - OUT_OF_ORDER
    given = [
        {
            "user": user,
            "window_start": end - SIZE,
            "window_end": end,
            "rows": len(rows),
            "total": math.fsum(amounts) if (amounts := _known(rows)) else None,
            "last": max(rows, key=lambda row: (row["at"], row["id"]))["id"],
        }
        for (user, end), rows in groups.items()
        if end <= reached
    ]
    sums: dict[datetime, int] = {}
    for row in given:
        start = (
            BEGIN + (row["window_end"] - timedelta(microseconds=1) - BEGIN) // (2 * SIZE) * 2 * SIZE
        )
        sums[start] = sums.get(start, 0) + row["rows"]
    wide = [
        {"window_start": start, "window_end": start + 2 * SIZE, "rows": rows}
        for start, rows in sums.items()
        if start + 2 * SIZE <= reached
    ]
    streams = {"t.w": small, "t.late": small.late, "t.wide": large}
    return Golden(
        {name: stream.write_iceberg(name, catalog=catalog) for name, stream in streams.items()},
        {"t.w": given, "t.late": late, "t.wide": wide},
    )


def _known(rows: list[Row]) -> list[float]:
    return [row["amount"] for row in rows if row["amount"] is not None]


GOLDEN: Mapping[str, Build] = {
    build.__name__: build
    for build in (
        copied,
        filtered,
        united,
        distributed,
        mapped,
        fanned,
        diamond,
        generated,
        filed,
        windowed,
    )
}
