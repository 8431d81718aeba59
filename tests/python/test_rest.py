"""The column that has the fields of JSON which no other column reads."""

import json
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.errors import PlanError, SchemaError
from frazil.run.runner import plan_schema


class Item(fz.Schema):
    sku: str
    more: str | None = fz.field(rest=True)


class Order(fz.Schema):
    id: int
    user: str | None
    items: list[Item] | None
    rest: str | None = fz.field(rest=True)


def _orders(folder: Path, *rows: dict[str, Any]) -> fz.Stream:
    path = folder / "orders.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return fz.read_files(path, format="json", schema=Order)


def test_the_rest_is_what_the_schema_leaves_whoever_reads_on(tmp_path: Path) -> None:
    """Not what the columns leave that the pipeline uses: of these only one is asked for."""
    orders = _orders(
        tmp_path,
        {"id": 1, "user": "ada", "items": [{"sku": "a", "n": 1}], "plan": "pro"},
        {"id": 2, "user": "bob"},
    )
    assert orders.select("rest").head().to_pylist() == [
        {"rest": '{"plan": "pro"}'},
        {"rest": None},
    ]
    items = orders.select("items").head().to_pylist()[0]["items"]
    assert items == [{"sku": "a", "more": '{"n": 1}'}]


def test_other_columns_alone_do_not_read_everything(tmp_path: Path) -> None:
    sink = _orders(tmp_path, {"id": 1}).select("id").write_memory()
    nodes = fz.Pipeline("p", sink).plan.json["nodes"]
    (source,) = (node for node in nodes if node["kind"] == "source")
    assert plan_schema(source["schema"]).names == ["id"]


@pytest.mark.parametrize("before", ["key", "full"])
def test_of_change_events(tmp_path: Path, before: Any) -> None:
    def event(op: str, old: Any, new: Any) -> str:
        return json.dumps({"before": old, "after": new, "op": op}) + "\n"

    path = tmp_path / "events.jsonl"
    first, second = {"id": 1, "a": "x", "new": 1}, {"id": 1, "a": "y", "new": 2}
    path.write_text(
        event("c", None, first)
        + event("u", first, second)
        + event("c", None, {"id": 2, "a": "z"})
        + event("c", None, {"id": 3, "new": [1]})
        + event("d", {"id": 3, "new": [1]}, None)
    )

    class Row(fz.Schema):
        id: int
        a: str | None
        rest: str | None = fz.field(rest=True)

    changes = fz.read_files(path, format=fz.DebeziumJson(before=before), schema=Row, key=["id"])
    sink = changes.write_memory()
    fz.Pipeline("p", sink, checkpoint=f"{tmp_path}/checkpoint").run(until="now", quiet=True)
    assert sorted(sink.table().to_pylist(), key=lambda row: row["id"]) == [
        {"id": 1, "a": "y", "rest": '{"new": 2}'},
        {"id": 2, "a": "z", "rest": None},
    ]


def test_declared_later_the_old_rows_still_have_it(tmp_path: Path) -> None:
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/c.db",
        "warehouse": f"file://{tmp_path}/w",
    }

    def run(name: str, schema: Any, row: str) -> None:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(row)
        stream = fz.read_files(path, format="json", schema=schema)
        sink = stream.write_iceberg("shop.orders", catalog=catalog, drift="evolve")
        fz.Pipeline(name, sink, checkpoint=f"{tmp_path}/checkpoint").run(until="now", quiet=True)

    class Later(Order):
        plan: str | None

    run("before", Order, '{"id": 1, "plan": "pro"}\n')
    run("after", Later, '{"id": 2, "plan": "free", "seats": 3}\n')
    from frazil.iceberg.catalog import open_catalog

    rows = open_catalog(catalog).load_table("shop.orders").scan().to_arrow().to_pylist()
    assert {row["id"]: (row["plan"], row["rest"]) for row in rows} == {
        1: (None, '{"plan": "pro"}'),
        2: ("free", '{"seats": 3}'),
    }


def test_what_cannot_have_a_rest() -> None:
    with pytest.raises(SchemaError, match="write str"):

        class Wrong(fz.Schema):
            rest: int | None = fz.field(rest=True)

    with pytest.raises(SchemaError, match="another option"):
        fz.field(rest=True, source="a")
    rest = pa.schema([pa.field("rest", pa.string(), metadata={"fz:rest": "true"})])
    with pytest.raises(PlanError, match="rest of an object of JSON"):
        fz.read_memory(pa.table({"rest": ["{}"]}).cast(rest))
