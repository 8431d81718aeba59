"""Random tables through the Iceberg data writer: rows, metrics, partitions by brute force."""

import math
import tempfile
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg import types as iceberg
from pyiceberg.conversions import to_bytes
from pyiceberg.transforms import parse_transform
from pyiceberg.types import PrimitiveType
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros, time_to_micros

from tests.python.iceberg_writer import path_of, read, value_of, with_ids, write

TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
PRIMITIVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 3)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.decimal128(9, 2), st.decimals(-9999999, 9999999, places=2)),
    (pa.decimal128(18, 0), st.decimals(-(10**17), 10**17, places=0)),
    (pa.decimal128(30, 5), st.decimals(-(10**24), 10**24, places=5)),
    (pa.date32(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), TIMES),
    (pa.timestamp("us", tz="UTC"), TIMES.map(lambda t: t.replace(tzinfo=UTC))),
    (pa.string(), st.text() | st.sampled_from(["a", "b"])),
    (pa.binary(), st.binary()),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
]
MODES = ["none", "counts", "truncate(2)", "truncate(16)", "full"]


@st.composite
def types(draw: st.DrawFn, depth: int = 2) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    shape = draw(st.sampled_from(["primitive"] * 3 + (["list", "struct", "map"] if depth else [])))
    if shape == "primitive":
        return draw(st.sampled_from(PRIMITIVES))
    if shape == "map":
        item, values = draw(types(depth - 1))
        keys = st.text(max_size=3)
        pairs = st.dictionaries(keys, st.none() | values, max_size=3).map(lambda d: list(d.items()))
        return pa.map_(pa.string(), item), pairs
    if shape == "list":
        item, values = draw(types(depth - 1))
        required = draw(st.booleans())
        kind = pa.list_(pa.field("element", item, not required))
        return kind, st.lists(values if required else st.none() | values, max_size=3)
    members = draw(st.lists(types(depth - 1), min_size=1, max_size=3))
    names = [f"m{i}" for i in range(len(members))]
    required = draw(st.lists(st.booleans(), min_size=len(members), max_size=len(members)))
    kind = pa.struct(
        [pa.field(n, m[0], not r) for n, m, r in zip(names, members, required, strict=True)]
    )
    values = st.fixed_dictionaries(
        {
            n: m[1] if r else st.none() | m[1]
            for n, m, r in zip(names, members, required, strict=True)
        }
    )
    return kind, values


@st.composite
def tables(draw: st.DrawFn, depth: int = 2) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    columns = draw(st.lists(types(depth), min_size=1, max_size=4))
    required = draw(st.lists(st.booleans(), min_size=len(columns), max_size=len(columns)))
    schema = pa.schema([pa.field(f"c{i}", c[0], not required[i]) for i, c in enumerate(columns)])
    batches = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(0, 8))
        arrays = [
            pa.array(
                draw(
                    st.lists(
                        values if required[i] else st.none() | values, min_size=rows, max_size=rows
                    )
                ),
                kind,
            )
            for i, (kind, values) in enumerate(columns)
        ]
        cut = draw(st.integers(0, rows))
        batches.append(pa.record_batch(arrays, schema=schema)[cut:])
    return with_ids(schema), batches


def leaves(field: pa.Field, values: list[Any], repeated: bool = False) -> list[tuple[Any, ...]]:
    """(id, type, leaf values with null for null parents, inside a list or map) of a column."""
    kind = field.type
    if pa.types.is_struct(kind):
        out = []
        for i in range(kind.num_fields):
            child = kind.field(i)
            below = [None if v is None else v[child.name] for v in values]
            out += leaves(child, below, repeated)
        return out
    if pa.types.is_list(kind):
        return leaves(kind.value_field, [], True)
    if pa.types.is_map(kind):
        return leaves(kind.key_field, [], True) + leaves(kind.item_field, [], True)
    return [(field.metadata[b"PARQUET:field_id"].decode(), kind, values, repeated)]


def ordered(value: Any) -> Any:
    if isinstance(value, float):  # -0.0 before 0.0
        return (value, math.copysign(1.0, value))
    if isinstance(value, str):
        return value.encode()
    return value


def check_bounds(kind: pa.DataType, values: list[Any], low: Any, high: Any, mode: str) -> None:
    """Bounds contain the values and, unless truncated, are the least and greatest."""
    least, greatest = min(values, key=ordered), max(values, key=ordered)
    width = int(mode[9:-1]) if mode.startswith("truncate") else None
    cut = width is not None and (pa.types.is_string(kind) or pa.types.is_binary(kind))
    if not cut:
        if isinstance(least, float) and least == 0:
            assert low == 0
            assert high is None or isinstance(high, float)
        else:
            assert low == least
        assert high == greatest
        return
    assert low == least[:width]
    if len(greatest) <= width:
        assert high == greatest
    elif high is not None:
        assert len(high) <= width
        assert ordered(high) > ordered(greatest)
        assert high[:-1] == greatest[: len(high) - 1]
    else:
        assert set(greatest[:width]) <= {"\U0010ffff", 255}


def same(a: Any, b: Any) -> bool:
    """Equality in which NaN equals NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


@settings(max_examples=40, deadline=None)
@given(
    tables(), st.sampled_from(MODES), st.sampled_from([1, 300, 1 << 20]), st.sampled_from([0, 2])
)
def test_rows_and_metrics(
    table: tuple[pa.Schema, list[pa.RecordBatch]], mode: str, group: int, threads: int
) -> None:
    schema, batches = table
    rows = [row for batch in batches for row in batch.to_pylist()]
    with tempfile.TemporaryDirectory() as folder:
        files = write(
            Path(folder),
            schema,
            batches,
            metrics={"*": mode},
            row_group_bytes=group,
            io_threads=threads,
        )
        if not rows:
            assert files == []
            return
        [file] = files
        assert same(read(files).to_pylist(), rows)
    assert file["rows"] == len(rows)
    for column in schema:
        for field_id, kind, values, repeated in leaves(column, [row[column.name] for row in rows]):
            counted = mode != "none"
            assert field_id in file["column_sizes"]
            assert (field_id in file["value_counts"]) == counted
            assert (field_id in file["null_counts"]) == counted
            if repeated or not counted:
                assert field_id not in file["lower"]
                continue
            assert file["value_counts"][field_id] == len(values)
            assert file["null_counts"][field_id] == values.count(None)
            floats = pa.types.is_floating(kind)
            nans = sum(isinstance(v, float) and math.isnan(v) for v in values)
            if mode == "counts":
                assert field_id not in file["lower"]
                assert field_id not in file["nan_counts"]
                continue
            if floats:
                assert file["nan_counts"][field_id] == nans
            known = [v for v in values if v is not None and not (floats and math.isnan(v))]
            low, high = file["lower"].get(field_id), file["upper"].get(field_id)
            if not known:
                assert (low, high) == (None, None)
                continue
            low = value_of(kind, low)
            high = None if high is None else value_of(kind, high)
            check_bounds(kind, known, low, high, mode)


ICEBERG_TYPES: dict[pa.DataType, PrimitiveType] = {
    pa.bool_(): iceberg.BooleanType(),
    pa.int32(): iceberg.IntegerType(),
    pa.int64(): iceberg.LongType(),
    pa.decimal128(9, 2): iceberg.DecimalType(9, 2),
    pa.decimal128(18, 0): iceberg.DecimalType(18, 0),
    pa.decimal128(30, 5): iceberg.DecimalType(30, 5),
    pa.date32(): iceberg.DateType(),
    pa.time64("us"): iceberg.TimeType(),
    pa.timestamp("us"): iceberg.TimestampType(),
    pa.timestamp("us", tz="UTC"): iceberg.TimestamptzType(),
    pa.string(): iceberg.StringType(),
    pa.binary(): iceberg.BinaryType(),
    pa.binary(3): iceberg.FixedType(3),
}
TRANSFORMS = ["identity", "bucket[4]", "truncate[2]", "year", "month", "day", "hour", "void"]


def internal(value: Any) -> Any:
    """What PyIceberg's transforms take."""
    if isinstance(value, datetime):
        return datetime_to_micros(value)
    if isinstance(value, date):
        return date_to_days(value)
    if hasattr(value, "hour"):
        return time_to_micros(value)
    return value


def partition_of(
    row: dict[str, Any], spec: list[tuple[str, str, PrimitiveType]]
) -> tuple[Any, ...]:
    out = []
    for column, name, kind in spec:
        transform = parse_transform(name)
        value = internal(row[column])
        result = None if value is None else transform.transform(kind)(value)
        if result is None:
            out.append(None)
        else:
            out.append(to_bytes(transform.result_type(kind), result).hex())
    return tuple(out)


def options_of(spec: list[tuple[str, str, PrimitiveType]]) -> list[dict[str, Any]]:
    out = []
    for column, name, _ in spec:
        transform, _, param = name.rstrip("]").partition("[")
        out.append(
            {
                "source": column,
                "name": f"{column}_{transform}",
                "transform": transform,
                "param": int(param) if param else None,
            }
        )
    return out


def sortable(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(row) for row in rows)


@settings(max_examples=40, deadline=None)
@given(tables(depth=0), st.data())
def test_partitions(table: tuple[pa.Schema, list[pa.RecordBatch]], data: st.DataObject) -> None:
    schema, batches = table
    possible = [
        (field.name, name, ICEBERG_TYPES[field.type])
        for field in schema
        if field.type in ICEBERG_TYPES
        for name in TRANSFORMS
        if parse_transform(name).can_transform(ICEBERG_TYPES[field.type])
        # the least integers have no multiple below them
        and not (name.startswith("truncate") and pa.types.is_integer(field.type))
    ]
    spec = data.draw(st.lists(st.sampled_from(possible), max_size=3)) if possible else []
    rows = [row for batch in batches for row in batch.to_pylist()]
    expected = defaultdict(list)
    for row in rows:
        expected[partition_of(row, spec)].append(row)
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), schema, batches, partition=options_of(spec))
        assert len(files) == len(expected)
        for file in files:
            key = tuple(file["partition"])
            assert sortable(read([file]).to_pylist()) == sortable(expected[key])
            folders = path_of(file).relative_to(folder).parts[:-1]
            assert len(folders) == len(spec)
            for part, (column, name, _), value in zip(folders, spec, key, strict=True):
                head = f"{column}_{name.partition('[')[0]}="
                assert part.startswith(head)
                assert (part == head + "null") or value is not None
