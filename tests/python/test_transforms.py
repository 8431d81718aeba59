"""Partition transforms agree with PyIceberg's on every type."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from frazil import _engine
from frazil.errors import PlanError
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg import types as iceberg
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.utils.datetime import (
    date_to_days,
    datetime_to_micros,
    time_to_micros,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))

# type, PyIceberg's type, values, what PyIceberg's transform takes
TYPES: list[tuple[pa.DataType, iceberg.PrimitiveType, st.SearchStrategy[Any], Any]] = [
    (pa.int32(), iceberg.IntegerType(), INT32, None),
    (pa.int64(), iceberg.LongType(), INT64, None),
    (
        pa.decimal128(9, 2),
        iceberg.DecimalType(9, 2),
        st.decimals(-9999999, 9999999, places=2),
        None,
    ),
    (
        pa.decimal128(38, 5),
        iceberg.DecimalType(38, 5),
        st.decimals(-(10**32), 10**32, places=5),
        None,
    ),
    (pa.date32(), iceberg.DateType(), DAYS, date_to_days),
    (pa.time64("us"), iceberg.TimeType(), st.times(), time_to_micros),
    (pa.timestamp("us"), iceberg.TimestampType(), TIMES, datetime_to_micros),
    (pa.timestamp("us", tz="UTC"), iceberg.TimestamptzType(), TIMES, datetime_to_micros),
    (pa.string(), iceberg.StringType(), st.text(), None),
    (pa.large_string(), iceberg.StringType(), st.text(), None),
    (pa.binary(), iceberg.BinaryType(), st.binary(), None),
    (pa.binary(5), iceberg.FixedType(5), st.binary(min_size=5, max_size=5), None),
    (pa.binary(16), iceberg.UUIDType(), st.uuids().map(lambda u: u.bytes), None),
]

SIZED: list[tuple[str, type[Transform[Any, Any]]]] = [
    ("bucket", BucketTransform),
    ("truncate", TruncateTransform),
]
CALENDAR: list[tuple[str, Transform[Any, Any]]] = [
    ("year", YearTransform()),
    ("month", MonthTransform()),
    ("day", DayTransform()),
    ("hour", HourTransform()),
]


def engine(name: str, param: int, array: pa.Array) -> list[Any]:
    batch = pa.record_batch([array], ["x"])
    out = pa.record_batch(_engine.iceberg_transform(name, param, batch)).column(0)
    return (out.cast(pa.int32()) if pa.types.is_date32(out.type) else out).to_pylist()


def fits(value: Decimal, width: int, kind: iceberg.DecimalType) -> bool:
    unscaled = int(value.scaleb(kind.scale))
    return abs(unscaled - unscaled % width) < 10**kind.precision


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_same_as_pyiceberg(data: st.DataObject) -> None:
    kind, theirs, values, convert = data.draw(st.sampled_from(TYPES))
    cases: list[tuple[str, int, Transform[Any, Any]]] = [
        (name, param, make(param))
        for name, make in SIZED
        for param in [data.draw(st.integers(1, 2**31 - 1) | st.integers(1, 20))]
        if make(param).can_transform(theirs)
    ]
    cases += [(name, 0, make) for name, make in CALENDAR if make.can_transform(theirs)]
    name, param, transform = data.draw(st.sampled_from(cases))
    rows = data.draw(st.lists(st.none() | values, max_size=20))
    array = pa.array(rows, kind)
    given_to_them = [r if r is None or convert is None else convert(r) for r in rows]
    if name == "truncate" and theirs in (iceberg.IntegerType(), iceberg.LongType()):
        least = -(2**31) if kind == pa.int32() else -(2**63)
        given_to_them = [None if r is None or r - r % param < least else r for r in given_to_them]
        array = pa.array(given_to_them, kind)
    if name == "truncate" and isinstance(theirs, iceberg.DecimalType):
        # What does not fit into the type is refused here; PyIceberg gives a number of more digits.
        given_to_them = [
            None if r is None or not fits(r, param, theirs) else r for r in given_to_them
        ]
        array = pa.array(given_to_them, kind)
    function = transform.transform(theirs)
    expected = [None if r is None else function(r) for r in given_to_them]
    assert engine(name, param, array) == expected
    cut = len(rows) // 2
    assert engine(name, param, array[cut:]) == expected[cut:]


@pytest.mark.parametrize("kind", [pa.uuid(), pa.float64(), pa.bool_()])
def test_identity_and_void_take_every_primitive(kind: pa.DataType) -> None:
    storage = (
        pa.array([b"0" * 16, None], pa.binary(16)) if kind == pa.uuid() else pa.array([1, None])
    )
    array = pa.array(storage.to_pylist(), kind) if kind == pa.uuid() else storage.cast(kind)
    assert engine("identity", 0, array) == array.to_pylist()
    assert engine("void", 0, array) == [None, None]


def test_a_decimal_that_is_truncated_out_of_its_type_is_refused() -> None:
    array = pa.array([Decimal("-9333333.39")], pa.decimal128(9, 2))
    with pytest.raises(PlanError, match="less than the type holds"):
        engine("truncate", 66_666_667, array)
