"""Protobuf from files: what columns a message has, and what is read into declared ones."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.errors import ConfigError, SchemaError
from frazil.proto_compile import compile_texts

from tests.python.proto_files import Proto, sized, tag, varint

ORDER = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/type/date.proto";
import "google/type/timeofday.proto";
import "google/type/decimal.proto";
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
message Order {
  int64 id = 1;
  optional string note = 2;
  google.protobuf.Timestamp at = 3;
  google.protobuf.Duration took = 4;
  google.protobuf.StringValue coupon = 5;
  google.type.Date day = 6;
  google.type.TimeOfDay slot = 7;
  confluent.type.Decimal amount = 8 [(confluent.field_meta) = {
    params: [{ key: "precision", value: "12" }, { key: "scale", value: "2" }]
  }];
  map<int32, string> names = 9;
  oneof paid { string card = 10; uint32 cash = 11; }
  State state = 12;
  google.type.Decimal tax = 13;
}
enum State { OPEN = 0; PAID = 1; }
"""


def read(format: fz.Protobuf, schema: Any = None) -> fz.Stream:
    return fz.read_kafka("t", servers="localhost:9092", format=format, schema=schema)


def test_columns_of_a_message() -> None:
    columns = Proto(ORDER, "Order", unit="ns").columns()
    assert [str(field.remove_metadata()) for field in columns] == [
        "pyarrow.Field<id: int64 not null>",
        "pyarrow.Field<note: string>",
        "pyarrow.Field<at: timestamp[ns, tz=UTC]>",
        "pyarrow.Field<took: duration[ns]>",
        "pyarrow.Field<coupon: string>",
        "pyarrow.Field<day: date32[day]>",
        "pyarrow.Field<slot: time64[ns]>",
        "pyarrow.Field<amount: decimal128(12, 2)>",
        "pyarrow.Field<names: map<int32, string> not null>",
        "pyarrow.Field<card: string>",
        "pyarrow.Field<cash: uint32>",
        "pyarrow.Field<state: string not null>",
        "pyarrow.Field<tax: struct<value: string not null>>",
    ]


def test_types_that_are_known() -> None:
    proto = Proto(ORDER, "Order")
    order: Any = proto.type()()
    order.at.FromDatetime(dt.datetime(2026, 1, 31, 23, 59, 59, 123456))
    order.took.FromMicroseconds(-1_500_000)
    order.coupon.value = ""
    order.day.year, order.day.month, order.day.day = 2024, 2, 29
    order.slot.hours, order.slot.minutes, order.slot.nanos = 23, 59, 5_000
    order.amount.value, order.amount.precision, order.amount.scale = b"\xff\x38", 12, 1
    order.names[-1] = "x"
    order.cash = 5
    order.state = 1
    order.tax.value = "1.25"
    (row,), bad = proto.decode([order.SerializeToString()])
    assert bad == []
    assert row == {
        "id": 0,
        "note": None,
        "at": dt.datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=dt.UTC),
        "took": dt.timedelta(seconds=-1.5),
        "coupon": "",
        "day": dt.date(2024, 2, 29),
        "slot": dt.time(23, 59, 0, 5),
        "amount": Decimal("-20.00"),
        "names": [(-1, "x")],
        "card": None,
        "cash": 5,
        "state": "PAID",
        "tax": {"value": "1.25"},
    }


@pytest.mark.parametrize(
    ("number", "body", "reason"),
    [
        (3, tag(2, 0) + varint(10**9), "0 s and 1000000000 ns are no timestamp"),
        (3, tag(1, 0) + varint(-62_135_596_801), "-62135596801 s and 0 ns are no timestamp"),
        (3, tag(2, 0) + varint(1), "0 s and a fraction has more digits than timestamp[us, tz=UTC]"),
        (4, tag(1, 0) + varint(1) + tag(2, 0) + varint(-1), "1 s and -1 ns are no duration"),
        (6, b"", "year 0, month 0, day 0 are no date"),
        (6, tag(1, 0) + varint(2026) + tag(2, 0) + varint(2) + tag(3, 0) + varint(29), "day 29"),
        (7, tag(1, 0) + varint(24), "that are no time of a day"),
        (8, b"", "a decimal without bytes"),
        (8, sized(1, b"\x01") + tag(3, 0) + varint(3), "1e-3 has more digits after the point"),
        (8, sized(1, b"\x01") + tag(3, 0) + varint(20_000), "scale 20000"),
        (3, sized(1, b"x"), "field 1 stands in the message as bytes"),
        (12, None, "7 is no value of shop.State"),
    ],
)
def test_values_that_are_none(number: int, body: bytes | None, reason: str) -> None:
    message = tag(number, 0) + varint(7) if body is None else sized(number, body)
    rows, ((_, column, why),) = Proto(ORDER, "Order").decode([message])
    assert rows == []
    assert reason in why
    assert column


def test_declared_columns() -> None:
    proto = Proto(
        """
        syntax = "proto2";
        message M {
          optional int64 at = 1;
          optional int32 day = 2;
          optional string iso = 3;
          optional double price = 4;
          optional uint32 count = 5;
          optional bytes text = 6;
          optional string data = 7;
          optional Color color = 8 [default = BLUE];
          optional Color code = 9;
          optional Inner inner = 10;
          optional int64 wide = 11;
        }
        message Inner { optional string name = 1; optional Inner inner = 2; }
        enum Color { RED = 1; BLUE = 2; }
        """,
        "M",
    )

    class Row(fz.Schema):
        at: dt.datetime = fz.field(time_unit="ms")
        day: dt.date
        iso: dt.datetime
        price: fz.Decimal[12, 4]
        count: float
        text: str
        data: bytes
        color: str
        code: int
        name: str | None = fz.field(source="inner.inner.name")
        wide: fz.Decimal[20, 1]
        new: int = fz.field(default=3)

    message: Any = proto.type()(
        at=1_500, day=1, iso="2026-01-01T00:00:00Z", price=0.1, count=7, text=b"t", data="d", code=1
    )
    message.inner.inner.name = "deep"
    message.wide = -(2**63)
    (row,), bad = proto.decode([message.SerializeToString()], Row.to_arrow())
    assert bad == []
    assert row == {
        "at": dt.datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=dt.UTC),
        "day": dt.date(1970, 1, 2),
        "iso": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "price": Decimal("0.1000"),
        "count": 7.0,
        "text": "t",
        "data": b"d",
        "color": "BLUE",
        "code": 1,
        "name": "deep",
        "wide": Decimal("-9223372036854775808.0"),
        "new": 3,
    }


def test_older_and_newer_messages() -> None:
    older = Proto('syntax = "proto3"; message M { int32 id = 1; string gone = 2; }', "M")
    newer = Proto(
        'syntax = "proto3"; message M { int64 id = 1; reserved 2; repeated string tags = 3; '
        "optional bool hot = 4; }",
        "M",
    )
    first = older.type()(id=1, gone="x").SerializeToString()
    second = newer.type()(id=2**40, tags=["a"], hot=False).SerializeToString()
    assert newer.decode([first, second])[0] == [
        {"id": 1, "tags": [], "hot": None},
        {"id": 2**40, "tags": ["a"], "hot": False},
    ]
    rows, bad = older.decode([first, second])
    assert rows == [{"id": 1, "gone": "x"}]
    assert bad == [(1, "id", "1099511627776 in a field of 32 bits")]


def test_editions() -> None:
    text = """
    edition = "2023";
    message M {
      int32 known = 1;
      int32 plain = 2 [features.field_presence = IMPLICIT];
      repeated int32 loose = 3 [features.repeated_field_encoding = EXPANDED];
      Inner inner = 4 [features.message_encoding = DELIMITED];
    }
    message Inner { int32 a = 1; }
    """
    proto = Proto(text, "M")
    message: Any = proto.type()(loose=[1, 2])
    message.inner.a = 3
    assert proto.decode([message.SerializeToString(), b""])[0] == [
        {"known": None, "plain": 0, "loose": [1, 2], "inner": {"a": 3}},
        {"known": None, "plain": 0, "loose": [], "inner": None},
    ]


def test_files_and_sets_of_descriptors(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "money.proto").write_text(
        'syntax = "proto3"; package m; message Money { int64 units = 1; }'
    )
    file = tmp_path / "shop.proto"
    file.write_text(
        'syntax = "proto3"; package s; import "lib/money.proto";'
        "message Order { int64 id = 1; m.Money price = 2; message Item { int32 n = 1; } }"
        "message Other { string x = 1; }"
    )
    by_file = read(fz.Protobuf(file, "s.Order"))
    assert by_file.schema.names == ["id", "price"]
    assert read(fz.Protobuf(str(file), "Item")).schema.names == ["n"]
    assert read(fz.Protobuf(file, "Money", include=[tmp_path])).schema.names == ["units"]
    out = tmp_path / "shop.desc"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}", "--include_imports",
         f"--descriptor_set_out={out}", "shop.proto"],
        check=True,
    )  # fmt: skip
    for descriptors in (out, str(out), out.read_bytes()):
        assert read(fz.Protobuf(descriptors, "Order")).schema == by_file.schema
    with pytest.raises(SchemaError, match=r"has 2 messages: s\.Order, s\.Other"):
        fz.Protobuf(file)
    with pytest.raises(SchemaError, match=r"did you mean 's\.Order'"):
        fz.Protobuf(file, "s.Oder")


def test_what_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.proto"
    file.write_text('syntax = "proto3"; message M { int64 id = 1; M self = 2; string s = 3; }')
    format = fz.Protobuf(file)
    with pytest.raises(SchemaError, match=r"field 'self' is message M, which holds itself"):
        read(format)
    assert read(format, {"id": int}).schema.names == ["id"]
    with pytest.raises(ConfigError, match="schema says string, and the column is declared int64"):
        read(format, {"s": int})
    with pytest.raises(ConfigError, match="no such field"):
        read(format, {"other": int})
    with pytest.raises(ConfigError, match="registry= is given"):
        fz.read_kafka("t", servers="h", format=format, registry="http://localhost:1")
    with pytest.raises(SchemaError, match="no such file"):
        fz.Protobuf(tmp_path / "b.proto")
    with pytest.raises(SchemaError, match="No such file"):
        fz.Protobuf(tmp_path / "b.desc")
    with pytest.raises(SchemaError, match="no set of descriptors"):
        fz.Protobuf(b"\xff")
    with pytest.raises(ConfigError, match="include"):
        fz.Protobuf(file, include="folder")
    file.write_text('syntax = "proto3"; message M { int64 id = 1 }')
    with pytest.raises(SchemaError, match=r'a\.proto:1:\d+: Expected ";"'):
        fz.Protobuf(file)
    file.write_text('syntax = "proto3"; import "away.proto"; message M { int64 id = 1; }')
    with pytest.raises(SchemaError, match=r"away\.proto: File not found"):
        fz.Protobuf(file)


def test_names_of_imports_stay_inside() -> None:
    for name in ("../x.proto", "/etc/x.proto", "a\\b"):
        with pytest.raises(SchemaError, match="no name of a file"):
            compile_texts(["", 'syntax = "proto3";'], [name], "it")


def test_a_schema_of_which_a_part_is_missing() -> None:
    file = compile_texts(
        ['syntax = "proto3"; message A { int32 a = 1; }',
         'syntax = "proto3"; import "a.proto"; message B { A a = 1; }'],
        ["a.proto"],
        "it",
    )  # fmt: skip
    assert Proto(file, "B").columns().names == ["a"]
    from google.protobuf import descriptor_pb2

    part = descriptor_pb2.FileDescriptorSet()
    file.main.CopyToProto(part.file.add())
    with pytest.raises(SchemaError, match="is not whole"):
        fz.Protobuf(part.SerializeToString())


def test_bytes_of_descriptors_are_enough() -> None:
    format = fz.Protobuf(compiled('syntax = "proto3"; message M { int64 id = 1; }'))
    assert "decode protobuf" in fz.Pipeline("p", read(format).write_memory()).explain()


def compiled(text: str) -> bytes:
    from google.protobuf import descriptor_pb2

    made = descriptor_pb2.FileDescriptorSet()
    for file in compile_texts([text], [], "it").files:
        file.CopyToProto(made.file.add())
    return made.SerializeToString()


def test_columns_inside_lists_and_maps() -> None:
    proto = Proto(
        'syntax = "proto3"; message M { repeated I items = 1; map<string, I> by = 2; } '
        "message I { sint32 n = 1; repeated fixed64 f = 2; }",
        "M",
    )
    message: Any = proto.type()()
    for number in (1, -2):
        message.items.add(n=number, f=[7])
    message.by["k"].n = 5
    columns = pa.schema(
        [
            pa.field("items", pa.large_list(pa.struct([pa.field("n", pa.int8())]))),
            pa.field(
                "by", pa.map_(pa.large_string(), pa.struct([pa.field("f", pa.list_(pa.float64()))]))
            ),
        ]
    )
    assert proto.decode([message.SerializeToString()], columns)[0] == [
        {"items": [{"n": 1}, {"n": -2}], "by": [("k", {"f": []})]}
    ]
