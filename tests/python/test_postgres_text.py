"""Columns as PostgreSQL's COPY reads them; without a server."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.postgres_text import column_type, copy_text

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("type_", "values", "lines", "made"),
    [
        (pa.int64(), [1, None, -5], "1\n\\N\n-5\n", "bigint"),
        (pa.bool_(), [True, False], "true\nfalse\n", "boolean"),
        (pa.float64(), [1.5, float("inf"), None], "1.5\ninf\n\\N\n", "double precision"),
        (
            pa.string(),
            ["", None, "\\N", "a\tb\nc\rd\\."],
            "\n\\N\n\\\\N\na\\tb\\nc\\rd\\\\.\n",
            "text",
        ),
        (pa.binary(), [b"\x00\xff", b"", None], "\\\\x00ff\n\\\\x\n\\N\n", "bytea"),
        (pa.date32(), [datetime.date(2026, 1, 2)], "2026-01-02\n", "date"),
        (pa.decimal128(12, 2), [Decimal("12.50")], "12.50\n", "numeric(12, 2)"),
        (
            pa.timestamp("us", "UTC"),
            [datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC)],
            "2026-01-02 03:04:05.000006Z\n",
            "timestamptz",
        ),
        (pa.list_(pa.string()), [["a\n"], [], None], '["a\\\\n"]\n[]\n\\N\n', "jsonb"),
        (pa.struct([("x", pa.int64())]), [{"x": None}], '{"x": null}\n', "jsonb"),
    ],
)
def test_values(type_: pa.DataType, values: list[Any], lines: str, made: str) -> None:
    column = pa.array(values, type_)
    batch = pa.RecordBatch.from_arrays([column], names=["a"])
    assert bytes(copy_text(batch)).decode() == lines
    assert bytes(copy_text(batch.slice(1))).decode() == lines.split("\n", 1)[1]
    assert column_type(type_) == made


def test_rows_of_several_columns() -> None:
    batch = pa.RecordBatch.from_pylist([{"a": 1, "b": "x"}, {"a": None, "b": None}])
    assert bytes(copy_text(batch)) == b"1\tx\n\\N\t\\N\n"
    assert bytes(copy_text(batch.slice(0, 0))) == b""


def test_types_that_it_does_not_have() -> None:
    with pytest.raises(fz.TypeMismatch, match="PostgreSQL has no duration"):
        column_type(pa.duration("us"))


def test_what_the_writer_refuses() -> None:
    rows = fz.read_memory([{"id": 1, "name": "x"}])
    totals = rows.group_by("name").agg(n=fz.count())
    for error, write in (
        (fz.PlanError, lambda: rows.write_postgres("a.b.c", dsn="host=x")),
        (fz.PlanError, lambda: rows.write_postgres("t", dsn="host=x password=y")),
        (fz.PlanError, lambda: rows.write_postgres("t", dsn="postgresql://me:pw@host/db")),
        (fz.PlanError, lambda: rows.write_postgres("t", dsn="host=x", key="id")),
        (fz.ConfigError, lambda: rows.write_postgres("t", dsn="host=x", mode="merge")),  # type: ignore[arg-type]
        (fz.PlanError, lambda: rows.write_postgres("t", dsn="host=x", mode="upsert")),
        (
            fz.ColumnNotFound,
            lambda: rows.write_postgres("t", dsn="host=x", mode="upsert", key="no"),
        ),
        (fz.ModeMismatch, lambda: totals.write_postgres("t", dsn="host=x")),
        (fz.PlanError, lambda: rows.rename(name="_kind").write_postgres("t", dsn="host=x")),
    ):
        with pytest.raises(error):
            write()
    made = fz.Pipeline("p", totals.write_postgres("t", dsn="host=x", mode="upsert", key="name"))
    assert "PostgreSQL, upsert by name" in made.explain()
    assert "password" not in made.plan.text
