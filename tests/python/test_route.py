"""Naming tables after columns of the rows: what a program may say."""

from __future__ import annotations

import frazil as fz
import pytest
from frazil.checkpoint.sink_ids import step_of, table_of, table_sink
from frazil.errors import ColumnNotFound, PlanError, TypeMismatch
from frazil.route import table_name, written_schema

ORDERS = [{"id": 1, "shop": "north", "country": "DE"}]


def test_pattern_names_columns() -> None:
    route = fz.route("crm.{shop}_{country}.{shop}")
    schema = fz.read_memory(ORDERS).schema
    spec = route._to_json(schema, "it")
    assert spec["columns"] == ["shop", "country"]
    assert table_name(spec["pieces"], ["north", "DE"]) == "crm.north_DE.north"
    assert written_schema(schema, spec).names == ["id", "shop", "country"]
    left = fz.route("crm.{shop}", keep=False)._to_json(schema, "it")
    assert written_schema(schema, left).names == ["id", "country"]


def test_metadata_by_short_names() -> None:
    changes = fz.read_kafka(
        "crm.public.users",
        servers="localhost:9092",
        format="debezium-json",
        schema={"id": int, "name": str},
        key=["id"],
        metadata=["topic", "source.schema", "source.table"],
    )
    spec = fz.route("{topic}.{schema}_{table}")._to_json(changes.schema, "it")
    assert spec["columns"] == ["_topic", "_source_schema", "_source_table"]
    sink = changes.write_iceberg(
        fz.route("crm.{schema}_{table}", keep=False), mode="upsert", key=["id"]
    )
    assert repr(sink) == "Sink(iceberg crm.{schema}_{table})"


@pytest.mark.parametrize(
    "pattern",
    ["crm.users", "{shop}", "crm.{shop", "crm.{}", "crm.{shop!r}", "crm.{shop:>3}", "crm..{shop}",
     "crm.{shop}/x", "c rm.{shop}", ".{shop}", "crm.{shop}.", "", "crm." + "{shop}" * 9,
     "crm." + "x" * 200 + "{shop}"],
)  # fmt: skip
def test_pattern_is_refused(pattern: str) -> None:
    orders = fz.read_memory(ORDERS)
    with pytest.raises(PlanError):
        orders.write_iceberg(fz.route(pattern))


def test_columns_are_checked() -> None:
    orders = fz.read_memory(ORDERS)
    with pytest.raises(ColumnNotFound, match="did you mean 'shop'"):
        orders.write_iceberg(fz.route("crm.{shp}"))
    with pytest.raises(TypeMismatch, match="column 'id' is int64"):
        orders.write_iceberg(fz.route("crm.{id}"))
    with pytest.raises(PlanError, match="tables_max=0"):
        fz.route("crm.{shop}", tables_max=0)
    with pytest.raises(PlanError, match="no column 'shop'"):
        orders.write_iceberg(fz.route("crm.{shop}", keep=False), partition_by=["shop"])


def test_ids_of_tables() -> None:
    sink = table_sink("sink-1f", "public/orders")
    assert (step_of(sink), table_of(sink)) == ("sink-1f", "public/orders")
    assert (step_of("sink-1f"), table_of("sink-1f")) == ("sink-1f", None)
