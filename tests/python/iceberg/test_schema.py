"""Arrow and Iceberg schemas, one from the other."""

import datetime
import decimal
import json
import uuid

import pyarrow as pa
import pytest
from frazil import _engine
from frazil.errors import SchemaError
from frazil.iceberg.catalog import embedded_catalog
from frazil.iceberg.commit import TableCommitter
from frazil.iceberg.schema import to_arrow, to_iceberg
from frazil.iceberg.table import prepare_table, writer_options
from frazil.iceberg.token import PendingToken, SinkIdentity
from pyiceberg.catalog import load_catalog

from tests.python.iceberg.world import Log, duckdb_rows

NESTED = pa.list_(
    pa.field(
        "element",
        pa.struct(
            [
                pa.field("a", pa.int16(), nullable=False),
                pa.field("m", pa.map_(pa.large_string(), pa.list_(pa.float32()))),
            ]
        ),
    )
)
EVERY = pa.schema(
    [
        pa.field("bool", pa.bool_()),
        pa.field("int8", pa.int8()),
        pa.field("uint16", pa.uint16()),
        pa.field("int32", pa.int32(), nullable=False),
        pa.field("uint32", pa.uint32()),
        pa.field("int64", pa.int64()),
        pa.field("float", pa.float32()),
        pa.field("double", pa.float64()),
        pa.field("decimal", pa.decimal128(20, 4)),
        pa.field("date", pa.date32()),
        pa.field("time", pa.time64("us")),
        pa.field("time_ms", pa.time32("ms")),
        pa.field("stamp", pa.timestamp("us")),
        pa.field("stamp_s", pa.timestamp("s")),
        pa.field("instant", pa.timestamp("us", tz="UTC")),
        pa.field("instant_ms", pa.timestamp("ms", tz="Europe/Berlin")),
        pa.field("text", pa.string()),
        pa.field("large_text", pa.large_string()),
        pa.field("bytes", pa.binary()),
        pa.field("fixed", pa.binary(5)),
        pa.field("uuid", pa.uuid()),
        pa.field("word", pa.dictionary(pa.int32(), pa.string())),
        pa.field("nested", NESTED),
    ]
)


def test_every_type_becomes_one_that_iceberg_has() -> None:
    found = {field.name: str(field.field_type) for field in to_iceberg(EVERY).fields}
    assert found.pop("nested").startswith("list<struct<")
    assert found == {
        "bool": "boolean",
        "int8": "int",
        "uint16": "int",
        "int32": "int",
        "uint32": "long",
        "int64": "long",
        "float": "float",
        "double": "double",
        "decimal": "decimal(20, 4)",
        "date": "date",
        "time": "time",
        "time_ms": "time",
        "stamp": "timestamp",
        "stamp_s": "timestamp",
        "instant": "timestamptz",
        "instant_ms": "timestamptz",
        "text": "string",
        "large_text": "string",
        "bytes": "binary",
        "fixed": "fixed[5]",
        "uuid": "uuid",
        "word": "string",
    }
    assert to_iceberg(EVERY).find_field("int32").required
    assert not to_iceberg(EVERY).find_field("int64").required
    assert to_iceberg(EVERY).find_field("nested.element.a").required


def test_ids_are_everywhere_in_the_written_schema() -> None:
    ids: list[int] = []

    def walk(field: pa.Field) -> None:
        ids.append(int(field.metadata[b"PARQUET:field_id"]))
        kind = field.type
        if pa.types.is_map(kind):
            walk(kind.key_field)
            walk(kind.item_field)
        elif pa.types.is_list(kind):
            walk(kind.value_field)
        elif pa.types.is_struct(kind):
            for i in range(kind.num_fields):
                walk(kind.field(i))

    iceberg = to_iceberg(EVERY)
    for field in to_arrow(iceberg):
        walk(field)
    assert sorted(ids) == list(range(1, iceberg.highest_field_id + 1))
    assert len(ids) == len(set(ids)) == 29


def test_a_list_of_a_fixed_size_is_a_list() -> None:
    number = pa.field("element", pa.float32(), nullable=False)
    made = to_iceberg(pa.schema([pa.field("vector", pa.list_(number, 3))]))
    assert str(made.find_field("vector").field_type) == "list<float>"
    assert made.find_field("vector").field_type.element_required


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (pa.uint64(), "decimal128(20, 0)"),
        (pa.float16(), "float32"),
        (pa.date64(), "date32"),
        (pa.time64("ns"), "time64('us')"),
        (pa.timestamp("ns"), "timestamp('us')"),
        (pa.timestamp("ns", tz="UTC"), "timestamp('us', tz='UTC')"),
        (pa.duration("us"), "int64"),
        (pa.decimal256(50, 2), "decimal128"),
        (pa.null(), "the type it is meant to have"),
    ],
)
def test_other_types_are_refused_with_advice(kind: pa.DataType, advice: str) -> None:
    schema = pa.schema([("ok", pa.int64()), ("outer", pa.struct([("bad", kind)]))])
    with pytest.raises(SchemaError) as caught:
        to_iceberg(schema)
    assert "'outer.bad'" in caught.value.what
    assert str(kind) in caught.value.what
    assert advice in caught.value.lines[0]


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (pa.schema([]), "at least one column"),
        (pa.schema([("a", pa.int32()), ("A", pa.int32())]), "columns 'a' and 'A'"),
        (pa.schema([("a", pa.int32()), ("a", pa.int32())]), "columns 'a' and 'a'"),
        (pa.schema([("__fz_kind", pa.int8())]), "'__fz_kind'"),
        (pa.schema([("a", pa.struct([]))]), "'a'"),
    ],
)
def test_schemas_that_make_no_table(schema: pa.Schema, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        to_iceberg(schema)


def test_every_type_through_writer_and_committer(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """What the engine writes and the committer commits, PyIceberg and DuckDB read."""
    catalog = embedded_catalog(tmp_path)
    schema = pa.schema([*EVERY, pa.field("group", pa.int64())])
    parts = [
        "identity(group)",
        "day(instant)",
        "hour(stamp)",
        "month(date)",
        "year(stamp_s)",
        "bucket(4, uuid)",
        "bucket(8, decimal)",
        "truncate(3, large_text)",
        "truncate(10, int64)",
        "identity(fixed)",
    ]
    table = prepare_table(catalog, "every.kind", schema, partition_by=parts)
    moment = datetime.datetime(2026, 3, 1, 23, 59, 59, 123456)
    utc = moment.replace(tzinfo=datetime.UTC)
    row = {
        "bool": True,
        "int8": -3,
        "uint16": 60000,
        "int32": 7,
        "uint32": 4_000_000_000,
        "int64": -11,
        "float": 0.5,
        "double": 0.25,
        "decimal": decimal.Decimal("-12.3450"),
        "date": moment.date(),
        "time": moment.time(),
        "time_ms": moment.time().replace(microsecond=123000),
        "stamp": moment,
        "stamp_s": moment.replace(microsecond=0),
        "instant": utc,
        "instant_ms": utc.replace(microsecond=123000),
        "text": "t",
        "large_text": "Grüße",
        "bytes": b"\x00\xff",
        "fixed": b"12345",
        "uuid": uuid.UUID(int=5).bytes,
        "word": "w",
        "nested": [{"a": 1, "m": [("k", [1.5, None])]}],
        "group": 9,
    }
    empty = {**dict.fromkeys(row), "int32": 8}
    data = pa.Table.from_pylist([row, empty], schema=schema)
    token = _engine.write_sink("iceberg", json.dumps(writer_options(table)), data, epoch=2)
    pending = PendingToken(2, "d" * 64, (token,))
    committer = TableCommitter(
        catalog,
        "every.kind",
        SinkIdentity("p", "i", "s"),
        table_uuid=str(table.metadata.table_uuid),
    )
    committer.commit([pending], landed=None, log=Log([pending]))
    properties = {k: v for k, v in catalog.properties.items() if k != "py-io-impl"}
    loaded = load_catalog("embedded", **properties).load_table("every.kind")
    [got] = loaded.scan(row_filter="group = 9").to_arrow().to_pylist()
    expected = {**row, "uuid": uuid.UUID(int=5)}
    assert got == expected
    [nothing] = loaded.scan(row_filter="int32 = 8").to_arrow().to_pylist()
    nothing.pop("nested")  # PyIceberg 0.12 reads a null list of structs as an empty one
    assert nothing == {key: empty[key] for key in nothing}
    partitions = loaded.inspect.partitions().to_pylist()
    assert {p["partition"]["large_text_trunc"] for p in partitions} == {None, "Grü"}
    assert {p["partition"]["int64_trunc"] for p in partitions} == {None, -20}
    first, second = duckdb_rows(
        catalog.load_table("every.kind"), "int32, uint32, large_text, uuid, nested is null"
    )
    assert first == (7, 4_000_000_000, "Grüße", uuid.UUID(int=5), False)
    assert second == (8, None, None, None, True)
