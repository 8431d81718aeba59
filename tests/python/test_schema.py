"""Schema classes: annotations become Arrow types, mistakes are errors on the user's line."""

import datetime as dt
import decimal
from typing import Annotated

import frazil as fz
import pyarrow as pa
import pytest
from frazil.schema import resolve


class Address(fz.Schema):
    street: str
    zip: str | None


class Order(fz.Schema):
    order_id: int
    amount: fz.Decimal[12, 2]
    created_at: dt.datetime
    day: dt.date
    wait: dt.timedelta
    at: dt.time
    raw: bytes
    ok: bool
    score: float
    small: fz.Int8
    single: fz.Float32 | None
    note: str | None
    tags: list[str]
    holes: list[int | None] | None
    labels: dict[str, int | None]
    address: Address
    homes: list[Address]
    nanos: Annotated[int, pa.timestamp("ns")]


def test_annotations_become_types() -> None:
    address = pa.struct([pa.field("street", pa.string(), False), pa.field("zip", pa.string())])
    assert Order.to_arrow() == pa.schema(
        [
            pa.field("order_id", pa.int64(), False),
            pa.field("amount", pa.decimal128(12, 2), False),
            pa.field("created_at", pa.timestamp("us", "UTC"), False),
            pa.field("day", pa.date32(), False),
            pa.field("wait", pa.duration("us"), False),
            pa.field("at", pa.time64("us"), False),
            pa.field("raw", pa.binary(), False),
            pa.field("ok", pa.bool_(), False),
            pa.field("score", pa.float64(), False),
            pa.field("small", pa.int8(), False),
            pa.field("single", pa.float32(), True),
            pa.field("note", pa.string(), True),
            pa.field("tags", pa.list_(pa.field("element", pa.string(), False)), False),
            pa.field("holes", pa.list_(pa.field("element", pa.int64(), True)), True),
            pa.field(
                "labels",
                pa.map_(pa.field("key", pa.string(), False), pa.field("value", pa.int64(), True)),
                False,
            ),
            pa.field("address", address, False),
            pa.field("homes", pa.list_(pa.field("element", address, False)), False),
            pa.field("nanos", pa.timestamp("ns"), False),
        ]
    )


def test_fields_carry_what_the_decoder_needs() -> None:
    class Event(fz.Schema):
        ip: str = fz.field(source="@source.ip")
        dotted: str = fz.field(source=["a.b"])
        plain: str = fz.field(source="x-y")
        ts: dt.datetime = fz.field(time_unit="ms", default=dt.datetime(1970, 1, 2, tzinfo=dt.UTC))
        price: fz.Decimal[4, 2] = fz.field(default=decimal.Decimal("1.50"))
        note: str | None = fz.field(default=None)
        day: dt.date = fz.field(default=dt.date(2026, 1, 2))

    schema = Event.to_arrow()
    assert schema.field("ip").metadata == {b"fz:source": b'["@source", "ip"]'}
    assert schema.field("dotted").metadata == {b"fz:source": b'["a.b"]'}
    assert schema.field("plain").metadata == {b"fz:source": b"x-y"}
    assert schema.field("ts").metadata == {b"fz:time_unit": b"ms", b"fz:default": b"86400000"}
    assert schema.field("price").metadata == {b"fz:default": b'"1.50"'}
    assert schema.field("note").metadata == {b"fz:default": b"null"}
    assert schema.field("day").metadata == {b"fz:default": b'"2026-01-02"'}


def test_inheritance_adds_columns() -> None:
    class Base(fz.Schema):
        id: int

    class More(Base):
        note: str

    assert More.to_arrow().names == ["id", "note"]
    assert repr(More.id) == "id"


def test_columns_are_attributes() -> None:
    assert repr(Order.score > 10) == "(score > 10)"
    with pytest.raises(AttributeError, match="did you mean 'amount'"):
        _ = Order.amout  # type: ignore[attr-defined]


def test_one_resolver_for_all_three() -> None:
    expected = pa.schema([pa.field("id", pa.int64(), False)])

    class One(fz.Schema):
        id: int

    assert resolve(One) == expected
    assert resolve(expected) == expected
    assert resolve({"id": int}) == expected
    assert resolve({"id": pa.int64()}) == pa.schema({"id": pa.int64()})


def _bare_decimal() -> None:
    class Bad(fz.Schema):
        amount: decimal.Decimal


def _unknown_type() -> None:
    class Bad(fz.Schema):
        amount: complex


def _plain_default() -> None:
    class Bad(fz.Schema):
        amount: int = 3


def _wrong_default() -> None:
    class Bad(fz.Schema):
        amount: int = fz.field(default="three")


def _null_default() -> None:
    class Bad(fz.Schema):
        amount: int = fz.field(default=None)


def _unit_on_text() -> None:
    class Bad(fz.Schema):
        amount: str = fz.field(time_unit="ms")


def _reserved() -> None:
    class Bad(fz.Schema):
        __fz_kind: int


def _forward() -> None:
    class Bad(fz.Schema):
        other: "Nowhere"  # type: ignore[name-defined] # noqa: F821


def _deep_source() -> None:
    class Inner(fz.Schema):
        city: str = fz.field(source="address.city")

    class Bad(fz.Schema):
        inner: Inner


def _empty() -> None:
    class Bad(fz.Schema):
        pass


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_bare_decimal, "Decimal says too little"),
        (_unknown_type, "complex.* is no column type"),
        (_plain_default, r"write fz.field\(default=3\)"),
        (_wrong_default, "default='three' does not fit int64"),
        (_null_default, "it may not be null"),
        (_unit_on_text, "time_unit='ms' on string"),
        (_forward, "'Nowhere' cannot be evaluated"),
        (_empty, "no columns"),
        (_deep_source, "inside a nested schema a source is one name"),
        (lambda: fz.field(source=""), "is no name"),
        (lambda: fz.Decimal[39, 2], "no decimal has precision 39"),
        (lambda: fz.Decimal[2, 3], "no decimal has precision 2 and scale 3"),
        (lambda: fz.Decimal["a"], "takes a precision and a scale"),
        (lambda: resolve({"__fz_kind": pa.int8()}), "are ours"),
        (lambda: resolve({"": pa.int8()}), "empty name"),
        (lambda: resolve({}), "without columns"),
        (lambda: resolve(pa.schema([("a", pa.int8()), ("a", pa.int8())])), "there twice"),
        (lambda: resolve(3), "3 is no schema"),
        (lambda: fz.field(time_unit="min"), "is no unit"),
        (lambda: fz.Schema.to_arrow(), "has no columns"),
    ],
)
def test_mistakes(make, text: str) -> None:
    with pytest.raises(fz.SchemaError, match=text) as caught:
        make()
    assert len(str(caught.value).splitlines()) <= 4


def test_error_ends_on_the_class() -> None:
    with pytest.raises(fz.SchemaError) as caught:
        _unknown_type()
    frames = [frame.name for frame in caught.traceback]
    assert frames.index("_unknown_type") >= len(frames) - 3
