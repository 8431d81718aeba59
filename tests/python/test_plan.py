"""Plans: shared parts once, needed columns only, ids that stay."""

import base64
import json
from collections.abc import Callable

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col


def schema_of(node: dict, key: str = "schema") -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(node[key])))


def nodes_of(*sinks: fz.Sink) -> list[dict]:
    nodes = fz.Pipeline("p", *sinks).plan.json["nodes"]
    seen: set[str] = set()
    for node in nodes:  # topological, unique
        inputs = node.get("inputs") or ([node["input"]] if "input" in node else [])
        assert all(upstream in seen for upstream, _ in inputs)
        assert node["id"] not in seen
        seen.add(node["id"])
    json.dumps(nodes)
    return nodes


def kinds(nodes: list[dict]) -> list[str]:
    return [node["kind"] for node in nodes]


def of_kind(nodes: list[dict], kind: str) -> dict:
    (node,) = [node for node in nodes if node["kind"] == kind]
    return node


def events(name: str | None = None) -> fz.Stream:
    schema = {"id": int, "user": str, "amount": float, "note": str, "flag": bool}
    return fz.read_files("events.jsonl", format="json", schema=schema, name=name)


def test_w1() -> None:
    stream = events()
    good = stream.filter(col("amount") > 10).select("id", total=col("amount") * 2)
    nodes = nodes_of(good.write_iceberg("a.good"), stream.rejected.write_iceberg("a.bad"))
    assert kinds(nodes) == ["source", "filter", "project", "sink", "sink"]
    source, filter_, project, sink, rejected = nodes
    assert schema_of(source).names == ["id", "amount"]
    assert source["on_bad_row"] == "divert"
    assert filter_["input"] == [source["id"], "rows"]
    assert [name for name, _ in project["columns"]] == ["id", "total"]
    assert sink["input"] == [project["id"], "rows"]
    assert schema_of(sink).names == ["id", "total"]
    assert rejected["input"] == [source["id"], "rejected"]


def test_bad_rows_fail_unless_somebody_takes_them() -> None:
    assert of_kind(nodes_of(events().write_memory()), "source")["on_bad_row"] == "fail"
    stream = fz.read_files("e", format="json", schema={"id": int}, on_bad_row="drop")
    with pytest.raises(fz.PlanError, match="on_bad_row='drop'"):
        fz.Pipeline("p", stream.rejected.write_memory())


def test_bad_rows_alone_are_bad_by_any_column() -> None:
    stream = fz.read_files("a.jsonl", format="json", schema={"id": int, "amount": float})
    source, _ = nodes_of(stream.rejected.write_memory())
    assert len(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(source["schema"])))) == 2


def test_shared_parts_stand_once() -> None:
    good = events().filter(col("amount") > 10)
    nodes = nodes_of(
        good.select("id").write_memory(name="a"),
        good.select("user").write_memory(name="b"),
        good.filter(col("flag")).write_memory(name="c"),
    )
    assert kinds(nodes).count("source") == 1
    assert kinds(nodes).count("filter") == 2
    assert schema_of(nodes[0]).names == ["id", "user", "amount", "note", "flag"]


def test_the_same_step_written_twice_is_one() -> None:
    stream = events()
    nodes = nodes_of(
        stream.filter(col("amount") > 10).write_memory(name="a"),
        stream.filter(col("amount") > 10).write_memory(name="b"),
    )
    assert kinds(nodes).count("filter") == 1


def test_columns_nobody_needs_are_not_computed() -> None:
    nodes = nodes_of(
        events()
        .with_columns(a=col("amount") * 2, b=col("id") + 1)
        .select("b", "user")
        .write_memory()
    )
    first = next(node for node in nodes if node["kind"] == "project")
    assert [name for name, _ in first["columns"]] == ["user", "b"]
    assert schema_of(nodes[0]).names == ["id", "user"]


def test_rows_are_counted_by_the_narrowest_column() -> None:
    nodes = nodes_of(events().with_columns(n=col("user")).select(one=1).write_memory())
    assert schema_of(nodes[0]).names == ["flag"]


def test_union_gets_equal_columns() -> None:
    one, two = events("one"), events("two")
    nodes = nodes_of(
        one.union(two.filter(col("flag"))).select("id").write_memory(name="a"),
        one.select("user").write_memory(name="b"),
    )
    union = of_kind(nodes, "union")
    by_id = {node["id"]: node for node in nodes}
    for upstream, port in union["inputs"]:
        assert port == "rows"
        assert [name for name, _ in by_id[upstream]["columns"]] == ["id"]
    assert schema_of(union).names == ["id"]


def test_union_reads_streams_directly_if_it_can() -> None:
    one, two = events("one"), events("two")
    nodes = nodes_of(one.union(two).write_memory())
    assert kinds(nodes) == ["source", "source", "union", "sink"]


def ids(make: Callable[[], fz.Sink]) -> dict[str, str]:
    return {node["kind"]: node["id"] for node in nodes_of(make())}


def test_ids_stay_when_other_things_change() -> None:
    def first() -> fz.Sink:
        return events().filter(col("amount") > 10).write_memory()

    def more_columns() -> fz.Sink:
        schema = {"id": int, "user": str, "amount": float, "new": str}
        stream = fz.read_files("events.jsonl", format="json", schema=schema, on_bad_row="drop")
        return stream.filter(col("amount") > 10).write_memory()

    def other_filter() -> fz.Sink:
        return events().filter(col("amount") > 11).write_memory()

    assert ids(first) == ids(more_columns)
    changed = ids(other_filter)
    assert changed["source"] == ids(first)["source"]
    assert changed["sink"] == ids(first)["sink"]
    assert changed["filter"] != ids(first)["filter"]


def test_named_fixes_the_id() -> None:
    one = ids(lambda: events().filter(col("amount") > 10).named("big").write_memory())
    two = ids(lambda: events().filter(col("amount") > 99).named("big").write_memory())
    assert one == two


def test_plan_text_is_the_same_each_time() -> None:
    def text() -> str:
        stream = events().filter(col("amount") > 10).with_columns(x=col("id") + 1)
        return fz.Pipeline("p", stream.write_iceberg("a.b")).plan.text

    assert text() == text()


def test_names_are_unique() -> None:
    with pytest.raises(fz.PlanError, match=r"two readers are called 'file:events\.jsonl'"):
        fz.Pipeline("p", events().write_memory(name="a"), events().write_memory(name="b"))
    stream = events()
    with pytest.raises(fz.PlanError, match=r"two sinks are called 'a\.b'"):
        fz.Pipeline("p", stream.write_iceberg("a.b"), stream.write_iceberg("a.b"))
    stream = events()
    with pytest.raises(fz.PlanError, match="two steps are called 'x'"):
        fz.Pipeline(
            "p",
            stream.filter(col("flag")).named("x").write_memory(name="a"),
            stream.filter(col("amount") > 1).named("x").write_memory(name="b"),
        )


def test_several_sinks_on_one_table() -> None:
    stream = events()
    sinks = (
        stream.filter(col("amount") > 10).write_iceberg("a.b", name="big"),
        stream.filter(col("amount") < 1).write_iceberg("a.b", name="small"),
    )
    assert kinds(nodes_of(*sinks)).count("sink") == 2


def test_distribute_by_partition_is_an_exchange() -> None:
    sink = events().write_iceberg(
        "a.b", partition_by=["user", "bucket(4, id)"], distribute_by="partition"
    )
    nodes = nodes_of(sink)
    exchange = of_kind(nodes, "exchange")
    assert exchange["keys"] == ["user", "id"]
    assert exchange["transforms"] == [
        {"name": "identity", "param": 0},
        {"name": "bucket", "param": 4},
    ]
    assert of_kind(nodes, "sink")["options"]["partition_by"] == [
        {"source": "user", "transform": "identity", "param": 0, "name": "user"},
        {"source": "id", "transform": "bucket", "param": 4, "name": "id_bucket"},
    ]
