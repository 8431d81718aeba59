"""Rows as Avro: read back by fastavro, an independent library, and by the decoder."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from decimal import Decimal
from random import Random
from typing import Any

import fastavro
import frazil as fz
import pyarrow as pa
import pytest
from frazil import _engine
from frazil.avro_format import key_schema, written_schema
from frazil.avro_schema import AvroColumns
from frazil.errors import ConfigError, PlanError, TypeMismatch

from tests.python.test_avro_property import FORMAT, Maker, decode, framed, plain, read, written

ID = 7
UTC_US = pa.timestamp("us", "UTC")
LEAF_TYPES: list[pa.DataType] = [
    pa.bool_(),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(5)),
    *(pa.decimal32(7, 2), pa.decimal64(18, 0), pa.decimal128(38, 10), pa.decimal256(60, 30)),
    *(pa.date32(), pa.date64()),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.timestamp(unit, "Europe/Berlin") for unit in ("s", "ms", "us", "ns")),
    *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
    pa.uuid(),
    pa.null(),
    pa.dictionary(pa.int32(), pa.string()),
]


class Columns:
    """Draws columns, and values for them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def field(self, name: str, depth: int = 0) -> pa.Field:
        type_ = self.type(depth)
        return pa.field(name, type_, pa.types.is_null(type_) or self.random.random() < 0.6)

    def type(self, depth: int) -> pa.DataType:
        random = self.random
        if depth >= 3 or random.random() < 0.6:
            return random.choice(LEAF_TYPES)
        match random.randrange(6):
            case 0:
                return pa.list_(self.field("element", depth + 1))
            case 1:
                return pa.large_list(self.field("item", depth + 1))
            case 2:
                return pa.list_(self.field("item", depth + 1), 3)
            case 3:
                return pa.map_(pa.string(), self.field("value", depth + 1))
            case 4:
                key = random.choice([pa.int64(), pa.date32(), pa.bool_()])
                return pa.map_(key, self.field("value", depth + 1))
            case _:
                count = random.randint(1, 3)
                return pa.struct([self.field(f"f{n}", depth + 1) for n in range(count)])

    def rows(self, schema: pa.Schema, count: int) -> pa.RecordBatch:
        arrays = []
        for field in schema:
            values = [self.value(field) for _ in range(count)]
            arrays.append(array(values, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def value(self, field: pa.Field) -> Any:
        """A value as integers of the unit, unscaled digits and so on (`array` makes them whole)."""
        random, type_, t = self.random, field.type, pa.types
        if t.is_null(type_) or (field.nullable and random.random() < 0.2):
            return None
        if isinstance(type_, pa.DictionaryType):
            return random.choice(["a", "bb", "ü"])
        if isinstance(type_, pa.UuidType):
            return uuid.UUID(int=random.getrandbits(128)).bytes
        if t.is_struct(type_):
            return {each.name: self.value(each) for each in type_}
        if t.is_map(type_):
            keys = {self.value(pa.field("key", type_.key_type, False)) for _ in range(3)}
            return [(key, self.value(type_.item_field)) for key in sorted(keys, key=str)]
        if t.is_fixed_size_list(type_):
            return [self.value(type_.value_field) for _ in range(type_.list_size)]
        if t.is_list(type_) or t.is_large_list(type_):
            return [self.value(type_.value_field) for _ in range(random.randint(0, 3))]
        return self.leaf(type_)

    def leaf(self, type_: pa.DataType) -> Any:
        random, t = self.random, pa.types
        if t.is_boolean(type_):
            return random.random() < 0.5
        if t.is_decimal(type_):
            most = 10 ** random.randint(0, type_.precision) - 1
            return Decimal(random.randint(-most, most)).scaleb(-type_.scale)
        if t.is_floating(type_):
            value = random.choice([random.uniform(-1000, 1000), 0.0, -1.5, float("inf")])
            return pa.scalar(value, pa.float64()).cast(type_, safe=False).as_py()
        if t.is_integer(type_):
            bits = type_.bit_width - (0 if t.is_unsigned_integer(type_) else 1)
            least = 0 if t.is_unsigned_integer(type_) else -(1 << bits)
            return random.choice(
                [random.randint(least, (1 << bits) - 1), least, (1 << bits) - 1, 0]
            )
        if t.is_fixed_size_binary(type_):
            return random.randbytes(type_.byte_width)
        if t.is_date64(type_):
            return random.randint(-10_000, 40_000) * 86_400_000
        if t.is_date(type_):
            return random.randint(-10_000, 40_000)
        if t.is_time(type_):
            per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[type_.unit]
            return random.randrange(86_400 * per_second)
        if t.is_timestamp(type_) or t.is_duration(type_):
            return random.choice([random.randint(-(10**9), 10**9), 0, -1])
        if "string" in str(type_):
            return "".join(random.choices('ab\0\n"é€😀', k=random.randint(0, 8)))
        return random.randbytes(random.randint(0, 8))


def array(values: list[Any], type_: pa.DataType) -> pa.Array:
    """An array of such values; numbers stand for times of their unit."""
    t = pa.types
    if isinstance(type_, pa.DictionaryType):
        return pa.array(values, type_.value_type).dictionary_encode().cast(type_)
    if isinstance(type_, pa.UuidType):
        return pa.ExtensionArray.from_storage(type_, pa.array(values, pa.binary(16)))
    if t.is_null(type_):
        return pa.nulls(len(values))
    nothing = pa.array([each is None for each in values])
    if t.is_struct(type_):
        inside = [array([filled(each, field) for each in values], field.type) for field in type_]
        return pa.StructArray.from_arrays(inside, fields=list(type_), mask=nothing)
    if t.is_map(type_):
        return _map_array(values, type_)
    if t.is_fixed_size_list(type_):
        flat = [
            item
            for each in values
            for item in (each or [_nothing(type_.value_field.type)] * type_.list_size)
        ]
        items = array(flat, type_.value_type)
        return pa.FixedSizeListArray.from_arrays(items, type=type_, mask=nothing)
    if t.is_list(type_) or t.is_large_list(type_):
        offsets: list[int | None] = []
        flat = []
        for each in values:
            offsets.append(None if each is None else len(flat))
            flat += each or []
        kind = pa.LargeListArray if t.is_large_list(type_) else pa.ListArray
        index = pa.int64() if t.is_large_list(type_) else pa.int32()
        return kind.from_arrays(
            pa.array([*offsets, len(flat)], index), array(flat, type_.value_type), type=type_
        )
    if t.is_temporal(type_):
        number = pa.int32() if type_.bit_width == 32 else pa.int64()
        return pa.array(values, number).view(type_)
    return pa.array(values, type_)


def _map_array(values: list[Any], type_: pa.DataType) -> pa.Array:
    offsets: list[int | None] = []
    keys: list[Any] = []
    items: list[Any] = []
    for each in values:
        offsets.append(None if each is None else len(keys))
        keys += [key for key, _ in each or ()]
        items += [item for _, item in each or ()]
    return pa.MapArray.from_arrays(
        pa.array([*offsets, len(keys)], pa.int32()),
        array(keys, type_.key_type),
        array(items, type_.item_type),
        type=type_,
    )


def filled(row: Any, field: pa.Field) -> Any:
    """The value of a field of a struct, which may be null itself."""
    return _nothing(field.type) if row is None else row[field.name]


def _nothing(type_: pa.DataType) -> Any:
    return None


def encode(schema: str, rows: pa.RecordBatch | pa.Table) -> list[bytes]:
    return _engine.encode_avro([schema], ID, rows)


def by_fastavro(schema: str, message: bytes) -> Any:
    assert message[:5] == b"\0" + ID.to_bytes(4, "big")
    data = io.BytesIO(message[5:])
    found = fastavro.schemaless_reader(data, fastavro.parse_schema(json.loads(schema)), None)
    assert data.read() == b""
    return found


@pytest.mark.parametrize("seed", range(80))
def test_random_columns_are_read_back_by_fastavro(seed: int) -> None:
    columns = Columns(seed)
    schema = pa.schema([columns.field(f"c{n}") for n in range(columns.random.randint(1, 6))])
    rows = columns.rows(schema, 40)
    text = written_schema(schema, "shop.Row")
    messages = encode(text, rows.slice(3))
    assert len(messages) == 37
    for message, row in zip(messages, range(3, 40), strict=True):
        found = by_fastavro(text, message)
        for field in schema:
            expected = numbers(rows.column(field.name)[row])
            assert as_numbers(found[field.name], field.type) == expected, field


def numbers(scalar: Any) -> Any:
    """A value of Arrow as numbers, texts and bytes; times in the unit that Avro has."""
    type_, t = scalar.type, pa.types
    if not scalar.is_valid:
        return None
    if isinstance(type_, pa.DictionaryType):
        return scalar.as_py()
    if isinstance(type_, pa.UuidType):
        return str(scalar.as_py())
    if t.is_struct(type_):
        return {field.name: numbers(scalar[field.name]) for field in type_}
    if t.is_map(type_):
        return [(numbers(each["key"]), numbers(each["value"])) for each in scalar.values]
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return [numbers(each) for each in scalar.values]
    if t.is_date(type_):
        return scalar.value // (86_400_000 if t.is_date64(type_) else 1)
    if t.is_temporal(type_):
        return scalar.value * _factor(type_)
    return scalar.as_py()


def _factor(type_: pa.DataType) -> int:
    finer = {"s": 1_000, "ms": 1, "us": 1, "ns": 1}
    if pa.types.is_duration(type_):
        finer = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
    return finer[type_.unit]


def as_numbers(value: Any, type_: pa.DataType) -> Any:
    """A value of fastavro in the same form."""
    t = pa.types
    if value is None:
        return None
    if isinstance(type_, pa.DictionaryType):
        return value
    if isinstance(type_, pa.UuidType):
        return str(value)
    if t.is_struct(type_):
        return {field.name: as_numbers(value[field.name], field.type) for field in type_}
    if t.is_map(type_):
        pairs = (
            value.items()
            if isinstance(value, dict)
            else [(each["key"], each["value"]) for each in value]
        )
        return [
            (as_numbers(key, type_.key_type), as_numbers(each, type_.item_type))
            for key, each in pairs
        ]
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return [as_numbers(each, type_.value_type) for each in value]
    if t.is_uint64(type_):
        return int(value)
    if isinstance(value, dt.datetime):
        since = dt.datetime(1970, 1, 1, tzinfo=value.tzinfo)
        micros = (value - since) // dt.timedelta(microseconds=1)
        return micros if type_.unit == "us" else micros // 1_000
    if isinstance(value, dt.date):
        return (value - dt.date(1970, 1, 1)).days
    if isinstance(value, dt.time):
        since_midnight = dt.timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
        micros = since_midnight // dt.timedelta(microseconds=1)
        return micros if type_.unit == "us" else micros // 1_000
    return value


def readable(type_: pa.DataType) -> bool:
    """Whether a column of this type can be declared for what is read."""
    t = pa.types
    if t.is_struct(type_):
        return all(readable(field.type) for field in type_)
    if t.is_map(type_):
        return bool(t.is_string(type_.key_type)) and readable(type_.item_type)
    if t.is_list(type_):
        return readable(type_.value_type)
    odd = (pa.float16(), pa.string_view(), pa.binary_view(), pa.date64(), pa.uuid(), pa.uint64())
    wide = t.is_decimal(type_) and type_.bit_width < 128
    zoned = t.is_timestamp(type_) and type_.tz not in (None, "UTC")
    nested = t.is_nested(type_) or isinstance(type_, pa.DictionaryType)
    return type_ not in odd and not (wide or zoned or nested)


@pytest.mark.parametrize("seed", range(80))
def test_random_columns_are_read_back_by_the_decoder(seed: int) -> None:
    columns = Columns(10_000 + seed)
    fields: list[pa.Field] = []
    while len(fields) < 6:
        field = columns.field(f"c{len(fields)}")
        if readable(field.type):
            fields.append(field)
    schema = pa.schema(fields)
    rows = columns.rows(schema, 50)
    text = written_schema(schema, "Row")
    batch, _, bad = _engine.decode(FORMAT, schema, encode(text, rows), schemas={ID: [text]})
    assert bad == []
    assert pa.record_batch(batch).equals(rows)


@pytest.mark.parametrize("seed", range(60))
def test_schemas_of_others(seed: int) -> None:
    """Rows of a schema that the registry has: what was read of it is written back the same."""
    maker = Maker(20_000 + seed)
    schema = maker.record()
    text = json.dumps(schema)
    columns = AvroColumns([text], "the schema").schema()
    messages = [framed(ID, written(schema, maker.value(schema))) for _ in range(40)]
    texts = {ID: [text]}
    batch, _, bad = _engine.decode(FORMAT, columns, messages, schemas=texts)
    assert bad == []
    again = encode(text, pa.record_batch(batch))
    for before, after in zip(messages, again, strict=True):
        wanted = plain(read(before[5:], schema, schema), pa.struct(list(columns)))
        assert plain(read(after[5:], schema, schema), pa.struct(list(columns))) == wanted


def refused(avro: Any, type_: pa.DataType, nullable: bool = False) -> str:
    fields = [{"name": "x", "type": avro}]
    text = json.dumps({"type": "record", "name": "R", "fields": fields})
    with pytest.raises(ConfigError) as error:
        _engine.check_avro([text], pa.schema([pa.field("x", type_, nullable)]))
    return str(error.value)


def accepted(avro: Any, type_: pa.DataType, value: Any) -> Any:
    fields = [{"name": "x", "type": avro}]
    text = json.dumps({"type": "record", "name": "R", "fields": fields})
    rows = pa.record_batch([pa.array([value], type_)], names=["x"])
    return by_fastavro(text, encode(text, rows)[0])["x"]


MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}


def test_values_are_never_cut() -> None:
    assert accepted("long", pa.int8(), -5) == -5
    assert accepted("double", pa.int32(), 5) == 5.0
    assert accepted(MONEY, pa.decimal128(8, 2), Decimal("-1.25")) == Decimal("-1.250")
    assert accepted(MONEY, pa.int16(), -7) == Decimal(-7)
    fixed = {**MONEY, "type": "fixed", "name": "F", "size": 6}
    assert accepted(fixed, pa.decimal128(8, 2), Decimal("-1.25")) == Decimal("-1.250")
    enum = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
    assert accepted(enum, pa.string(), "B") == "B"
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    assert accepted(millis, pa.timestamp("s", "UTC"), 1).timestamp() == 1
    assert accepted(millis, pa.timestamp("us", "UTC"), 5_000).microsecond == 5_000
    assert accepted("int", pa.int64(), -5) == -5
    assert accepted("long", pa.uint64(), 2**63 - 1) == 2**63 - 1
    assert accepted(["string", "null"], pa.string(), None) is None
    for avro, type_ in (
        ("float", pa.float64()),
        ("float", pa.int32()),
        ("string", pa.binary()),
        ("bytes", pa.string()),
        (MONEY, pa.decimal128(12, 4)),
        (MONEY, pa.decimal128(9, 2)),
        (MONEY, pa.int32()),
        (millis, pa.timestamp("ms")),
        (millis, pa.int64()),
        ("int", pa.date32()),
        ({"type": "array", "items": "int"}, pa.list_(pa.float64())),
        ({"type": "map", "values": "int"}, pa.map_(pa.int32(), pa.int32())),
        ({"type": "fixed", "name": "F", "size": 4}, pa.binary(5)),
    ):
        assert "cast the column" in refused(avro, type_)
        assert 'field "x"' in refused(avro, type_)
    assert "a union of several types" in refused(["null", "int", "string"], pa.string())


def test_what_does_not_fit_ends_with_its_place() -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["A"]}
    with pytest.raises(PlanError, match='field "x": "C" is no symbol of enum E'):
        accepted(enum, pa.string(), "C")
    with pytest.raises(PlanError, match='field "x": null, and the type in the schema has none'):
        accepted("string", pa.string(), None)
    with pytest.raises(PlanError, match='field "x": item 1: null'):
        accepted({"type": "array", "items": "int"}, pa.list_(pa.int32()), [1, None])
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    with pytest.raises(PlanError, match="has more digits"):
        accepted(millis, pa.timestamp("us", "UTC"), 5_001)
    for avro, type_, value in (("int", pa.int64(), 2**31), ("long", pa.uint64(), 2**63)):
        with pytest.raises(PlanError, match=f"{value} is outside the range of {avro}"):
            accepted(avro, type_, value)
    with pytest.raises(PlanError, match="outside the range"):
        accepted(
            {"type": "long", "logicalType": "timestamp-micros"}, pa.timestamp("s", "UTC"), 2**62
        )


def test_columns_and_fields_have_to_be_the_same() -> None:
    fields = [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "int"]}]
    text = json.dumps({"type": "record", "name": "R", "fields": fields})
    a = pa.field("a", pa.int32(), False)
    _engine.check_avro([text], pa.schema([a]))
    rows = pa.record_batch([pa.array([1], pa.int32())], schema=pa.schema([a]))
    assert by_fastavro(text, encode(text, rows)[0]) == {"a": 1, "b": None}
    with pytest.raises(ConfigError, match='no field "c"'):
        _engine.check_avro([text], pa.schema([a, pa.field("c", pa.int32())]))
    with pytest.raises(ConfigError, match='has a field "a", and there is no such column'):
        _engine.check_avro([text], pa.schema([pa.field("b", pa.int32())]))


def test_keys() -> None:
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("day", pa.date32())])
    assert json.loads(key_schema(schema, ["id"], "R")) == "long"
    assert json.loads(key_schema(schema, ["day", "id"], "shop.R")) == {
        "type": "record",
        "name": "shop.R",
        "fields": [
            {
                "name": "day",
                "type": ["null", {"type": "int", "logicalType": "date"}],
                "default": None,
            },
            {"name": "id", "type": ["null", "long"], "default": None},
        ],
    }


def test_what_avro_has_no_place_for() -> None:
    with pytest.raises(PlanError, match="'a b' has a name that Avro does not allow"):
        written_schema(pa.schema([pa.field("a b", pa.int64())]), "R")
    with pytest.raises(TypeMismatch, match="Avro has no type for"):
        written_schema(pa.schema([pa.field("a", pa.decimal128(5, -2))]), "R")
    for options in (
        {"subject": ""},
        {"version": 0},
        {"version": "first"},
        {"keys": "json"},
        {"keys": "text", "key_subject": "k"},
        {"record": "1a"},
    ):
        with pytest.raises(ConfigError):
            fz.Avro(**options)  # type: ignore[arg-type]
    rows: Any = fz.read_memory([{"id": 1}])
    with pytest.raises(ConfigError, match="no registry is given"):
        rows.write_kafka("t", servers="h:1", format="avro")
    with pytest.raises(ConfigError, match="json has no schemas there"):
        rows.write_kafka("t", servers="h:1", registry="http://h:1")


def test_names_within_are_apart() -> None:
    inner = pa.struct([pa.field("x", pa.binary(4), False)])
    schema = pa.schema(
        [
            pa.field("a", pa.list_(pa.field("item", inner, False)), False),
            pa.field("a_item", inner, False),
        ]
    )
    text = written_schema(schema, "shop.Order")
    fastavro.parse_schema(json.loads(text))
    rows = pa.record_batch(
        [
            pa.array([[{"x": b"abcd"}]], schema.field("a").type),
            pa.array([{"x": b"efgh"}], inner),
        ],
        schema=schema,
    )
    assert by_fastavro(text, encode(text, rows)[0]) == {
        "a": [{"x": b"abcd"}],
        "a_item": {"x": b"efgh"},
    }
    assert decode(schema, {ID: json.loads(text)}, encode(text, rows))[0] == rows.to_pylist()
