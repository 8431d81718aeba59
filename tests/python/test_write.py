"""Writers: what a table can take, and options."""

from datetime import timedelta

import frazil as fz
import pyarrow as pa
import pytest
from frazil.partition import partition_fields

INT64 = pa.int64()


def stream(type_: pa.DataType = INT64, name: str = "x") -> fz.Stream:
    return fz.read_files("e", format="json", schema={name: type_, "user": pa.string()})


TAKEN = [
    pa.bool_(),
    pa.int8(),
    pa.uint32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.decimal128(38, 10),
    pa.date32(),
    pa.time64("us"),
    pa.timestamp("us"),
    pa.timestamp("ms", "UTC"),
    pa.string(),
    pa.binary(),
    pa.binary(16),
    pa.list_(pa.struct({"a": pa.int32()})),
    pa.map_(pa.string(), pa.float64()),
]
REFUSED = [
    pa.uint64(),
    pa.float16(),
    pa.duration("us"),
    pa.timestamp("ns"),
    pa.timestamp("us", "Europe/Berlin"),
    pa.null(),
    pa.list_(pa.uint64()),
    pa.struct({"a": pa.duration("s")}),
    pa.map_(pa.string(), pa.uint64()),
]


@pytest.mark.parametrize("type_", TAKEN, ids=str)
def test_types_of_tables(type_: pa.DataType) -> None:
    assert repr(stream(type_).write_iceberg("a.b")) == "Sink(iceberg a.b)"


@pytest.mark.parametrize("type_", REFUSED, ids=str)
def test_types_tables_do_not_have(type_: pa.DataType) -> None:
    with pytest.raises(fz.TypeMismatch, match=r"column 'x' of a\.b"):
        stream(type_).write_iceberg("a.b")


@pytest.mark.parametrize(
    ("text", "type_", "transform", "param", "name"),
    [
        ("x", pa.string(), "identity", 0, "x"),
        ("day(x)", pa.timestamp("us", "UTC"), "day", 0, "x_day"),
        ("Month( x )", pa.date32(), "month", 0, "x_month"),
        ("hour(x)", pa.timestamp("us"), "hour", 0, "x_hour"),
        ("bucket(16, x)", pa.int64(), "bucket", 16, "x_bucket"),
        ("truncate(4,x)", pa.string(), "truncate", 4, "x_trunc"),
    ],
)
def test_partition_fields(
    text: str, type_: pa.DataType, transform: str, param: int, name: str
) -> None:
    stream(type_).write_iceberg("a.b", partition_by=text)
    (field,) = partition_fields([text], pa.schema({"x": type_}))
    assert field == {"source": "x", "transform": transform, "param": param, "name": name}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda s: s.write_iceberg("b"), "is no table"),
        (lambda s: s.write_iceberg("a."), "is no table"),
        (lambda s: s.write_iceberg("a.b", mode="merge"), "mode='merge' is not offered"),
        (lambda s: s.write_iceberg("a.b", mode="upsert"), "with a key of 0 columns"),
        (lambda s: s.write_iceberg("a.b", mode="upsert", key="usr"), "did you mean 'user'"),
        (lambda s: s.write_iceberg("a.b", mode="upsert", key=["x", "x"]), "'x' twice"),
        (lambda s: s.write_iceberg("a.b", mode="upsert", key=[3]), "key=3"),
        (lambda s: s.write_iceberg("a.b", key="x"), "key='x' is of another mode"),
        (
            lambda s: s.with_columns(f=fz.col("x") / 2).write_iceberg(
                "a.b", mode="upsert", key="f"
            ),
            "key column 'f' is double",
        ),
        (
            lambda s: s.write_iceberg(
                "a.b", mode="upsert", key="x", partition_by="x", distribute_by="partition"
            ),
            "rows go by their key",
        ),
        (lambda s: s.write_iceberg("a.b", distribute_by="day"), "distribute_by='day'"),
        (lambda s: s.write_iceberg("a.b", distribute_by="partition"), "without partition_by"),
        (lambda s: s.write_iceberg("a.b", partition_by="usr"), "did you mean 'user'"),
        (lambda s: s.write_iceberg("a.b", partition_by="week(x)"), "no transform 'week'"),
        (lambda s: s.write_iceberg("a.b", partition_by="bucket(x)"), r"write bucket\(16, x\)"),
        (lambda s: s.write_iceberg("a.b", partition_by="day(4, x)"), r"write day\(x\)"),
        (lambda s: s.write_iceberg("a.b", partition_by="day(x)"), "x is int64"),
        (lambda s: s.write_iceberg("a.b", partition_by="bucket(0, x)"), "bucket takes a number"),
        (lambda s: s.write_iceberg("a.b", partition_by=["x", "x"]), "'x' twice"),
        (lambda s: s.write_iceberg("a.b", catalog=3), "catalog= got a int"),
        (lambda s: s.write_iceberg("a.b", compression="lzo"), "compression='lzo'"),
        (lambda s: s.write_iceberg("a.b", name=" " * 300), "names no sink"),
        (lambda s: s.write_files("out", format="csv"), "format='csv' is not offered"),
        (lambda s: s.write_files("s3://b/out", format="json"), "no local folder"),
    ],
)
def test_mistakes(make, text: str) -> None:
    with pytest.raises((fz.PlanError, fz.ConfigError), match=text) as caught:
        make(stream())
    assert len(str(caught.value).splitlines()) <= 4


def test_names_of_sinks() -> None:
    assert stream().write_iceberg("a.b").name == "a.b"
    assert stream().write_iceberg("a.b", branch="audit").name == "a.b@audit"
    assert stream().write_iceberg("a.b", name="mine").name == "mine"


def test_a_live_catalog_stays_beside_the_plan() -> None:
    class Catalog:
        name = "lake"

        def load_table(self) -> None: ...

    catalog = Catalog()
    plan = fz.Pipeline("p", stream().write_iceberg("a.b", catalog=catalog)).plan
    (sink,) = [node for node in plan.json["nodes"] if node["kind"] == "sink"]
    assert sink["options"]["catalog_name"] == "lake"
    assert plan.objects[sink["id"]]["catalog"] is catalog


def test_commit_every_is_a_multiple() -> None:
    sink = stream().write_iceberg("a.b", commit_every=timedelta(seconds=30))
    fz.Pipeline("p", sink, checkpoint_every="10s")
    with pytest.raises(fz.ConfigError, match="a multiple of checkpoint_every=20s"):
        fz.Pipeline("p", sink, checkpoint_every="20s")


def test_catalogs() -> None:
    def options(catalog: object) -> dict:
        sink = stream().write_iceberg("a.b", catalog=catalog)
        return dict(fz.Pipeline("p", sink).plan.json["nodes"][-1]["options"])

    assert options("lake")["catalog"] == options("lake")["catalog_name"] == "lake"
    properties = {"name": "lake", "uri": "http://127.0.0.1:8181"}
    assert options(properties)["catalog"] == properties
    assert options(properties)["catalog_name"] == "lake"
    assert "catalog" not in options(None)


def test_upsert_goes_by_the_key() -> None:
    """Rows of a key meet in one worker, and the sink keeps what a checkpoint has."""
    rows = fz.read_memory([{"x": 1, "user": "ada"}])
    sink = rows.write_iceberg("a.b", mode="upsert", key=["user", "x"], partition_by="x")
    plan = fz.Pipeline("p", sink, checkpoint="unused").plan.json
    exchange, written = plan["nodes"][-2:]
    assert (exchange["kind"], exchange["keys"]) == ("exchange", ["user", "x"])
    assert written["stateful"]
    assert written["state"] == {"key": "user: string, x: integer"}
    assert written["options"]["key"] == ["user", "x"]


def test_upsert_of_changes() -> None:
    """The key has to have the columns by which the stream changes."""
    rows = fz.read_memory([{"x": 1, "user": "ada"}])
    totals = rows.group_by("user", "x").agg(n=fz.count())
    totals.write_iceberg("a.b", mode="upsert", key=["x", "user", "n"])
    with pytest.raises(fz.PlanError, match="lacks 'x': the stream has changes by user, x"):
        totals.write_iceberg("a.b", mode="upsert", key="user")
    with pytest.raises(fz.ModeMismatch, match="have no key any more"):
        totals.select("n").write_iceberg("a.b", mode="upsert", key="n")
    with pytest.raises(fz.ModeMismatch, match='mode="upsert"'):
        totals.write_iceberg("a.b")
