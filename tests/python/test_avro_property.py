"""Avro of random schemas and values, written and resolved by fastavro, an independent library."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from decimal import Decimal
from random import Random
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from frazil import _engine
from frazil.avro_schema import AvroColumns

Schema = Any
FORMAT = json.dumps({"kind": "avro", "registry": "http://registry"})
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
EMPTY: Schema = {"type": "record", "name": "R", "fields": []}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Promotions of Avro: what may be read of what was written.
WIDER = {
    "int": ("long", "float", "double"),
    "long": ("double",),  # to a float fastavro rounds twice
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


class Maker:
    """Draws schemas, later versions of them, and values."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.names = 0

    def name(self, word: str) -> str:
        self.names += 1
        return f"{word}{self.names}"

    def record(self, depth: int = 0) -> Schema:
        fields = [self.field(depth) for _ in range(self.random.randint(1, 6))]
        return {"type": "record", "name": self.name("R"), "fields": fields}

    def field(self, depth: int) -> Schema:
        return {"name": self.name("f"), "type": self.type(depth)}

    def type(self, depth: int) -> Schema:
        draw = self.random.random()
        if draw < 0.25:
            union = ["null", self.value_type(depth)]
            return union if self.random.random() < 0.7 else union[::-1]
        return self.value_type(depth)

    def value_type(self, depth: int) -> Schema:
        random = self.random
        if depth < 3 and random.random() < 0.3:
            match random.randrange(3):
                case 0:
                    return self.record(depth + 1)
                case 1:
                    return {"type": "array", "items": self.type(depth + 1)}
                case _:
                    return {"type": "map", "values": self.type(depth + 1)}
        return random.choice(
            [
                *("boolean", "int", "long", "float", "double", "bytes", "string"),
                {"type": "enum", "name": self.name("E"), "symbols": ["A", "B", "C"]},
                {"type": "fixed", "name": self.name("X"), "size": random.randint(1, 20)},
                {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3},
                {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 10},
                {
                    **{"type": "fixed", "name": self.name("D"), "size": 9},
                    **{"logicalType": "decimal", "precision": 18, "scale": 5},
                },
                {"type": "int", "logicalType": "date"},
                {"type": "int", "logicalType": "time-millis"},
                {"type": "long", "logicalType": "time-micros"},
                {"type": "long", "logicalType": "timestamp-millis"},
                {"type": "long", "logicalType": "timestamp-micros"},
                {"type": "long", "logicalType": "local-timestamp-micros"},
                {"type": "string", "logicalType": "uuid"},
            ]
        )

    def text(self) -> str:
        return "".join(self.random.choices('ab\0\n"é€😀', k=self.random.randint(0, 12)))

    def value(self, type_: Schema) -> Any:
        random = self.random
        if isinstance(type_, list):
            return self.value(random.choice(type_))
        logical = type_.get("logicalType") if isinstance(type_, dict) else None
        match logical:
            case "decimal":
                digits = random.randint(0, type_["precision"])
                unscaled = random.randint(-(10**digits) + 1, 10**digits - 1)
                return Decimal(unscaled).scaleb(-type_["scale"])
            case "date":
                return dt.date(1, 1, 1) + dt.timedelta(days=random.randint(0, 3_000_000))
            case "time-millis":
                return (EPOCH + dt.timedelta(milliseconds=random.randrange(86_400_000))).time()
            case "time-micros":
                return (EPOCH + dt.timedelta(microseconds=random.randrange(86_400_000_000))).time()
            case "timestamp-millis":
                return EPOCH + dt.timedelta(milliseconds=random.randint(-(10**13), 10**13))
            case "timestamp-micros":
                return EPOCH + dt.timedelta(microseconds=random.randint(-(10**16), 10**16))
            case "local-timestamp-micros":
                since = dt.timedelta(microseconds=random.randint(-(10**16), 10**16))
                return (EPOCH + since).replace(tzinfo=None)
            case "uuid":
                return uuid.UUID(int=random.getrandbits(128))
        match type_ if isinstance(type_, str) else type_["type"]:
            case "null":
                return None
            case "boolean":
                return random.random() < 0.5
            case "int":
                return random.randint(-(2**31), 2**31 - 1) >> random.randrange(32)
            case "long":
                return random.randint(-(2**63), 2**63 - 1) >> random.randrange(64)
            case "float":
                return float(pa.scalar(random.uniform(-1e6, 1e6), pa.float32()).as_py())
            case "double":
                return random.choice([random.gauss(0, 1e9), 0.0, float("inf"), 5e-324])
            case "bytes":
                return random.randbytes(random.randint(0, 12))
            case "string":
                return self.text()
            case "enum":
                return random.choice(type_["symbols"])
            case "fixed":
                return random.randbytes(type_["size"])
            case "array":
                return [self.value(type_["items"]) for _ in range(random.randint(0, 4))]
            case "map":
                return {
                    self.text(): self.value(type_["values"]) for _ in range(random.randint(0, 4))
                }
            case "record":
                return {field["name"]: self.value(field["type"]) for field in type_["fields"]}
        raise AssertionError(type_)

    def later(self, type_: Schema) -> Schema:
        """A later version: fields go, come with defaults, change places, are promoted."""
        random = self.random
        if isinstance(type_, list):
            return [self.later(each) for each in type_]
        if isinstance(type_, str):
            wider = WIDER.get(type_, ())
            # Whether bytes are UTF-8 is up to the writer.
            wider = tuple(each for each in wider if type_ != "bytes")
            return random.choice(wider) if wider and random.random() < 0.3 else type_
        match type_["type"]:
            case "array":
                return {**type_, "items": self.later(type_["items"])}
            case "map":
                return {**type_, "values": self.later(type_["values"])}
            case "record":
                fields = []
                for field in type_["fields"]:
                    if random.random() < 0.15:
                        continue
                    new = {**field, "type": self.later(field["type"])}
                    if random.random() < 0.1:
                        older = [field["name"], *field.get("aliases", ())]
                        new |= {"name": self.name("n"), "aliases": older}
                    fields.append(new)
                for _ in range(random.choice([0, 0, 1, 2])):
                    fields.append(self.added())
                random.shuffle(fields)
                return {**type_, "fields": fields or [self.added()]}
        return type_

    def added(self) -> Schema:
        choices: list[tuple[Schema, Any]] = [
            (["null", "string"], None),
            ("long", 7),
            ("string", "none"),
            ("bytes", "A\u0000"),  # beyond ASCII fastavro takes it for a text
            ("boolean", True),
            (["double", "null"], 1.5),
            ({"type": "array", "items": "int"}, [1, 2]),
            ({"type": "map", "values": "string"}, {"a": "b"}),
            ({"type": "enum", "name": self.name("E"), "symbols": ["A", "B"]}, "B"),
        ]
        type_, default = self.random.choice(choices)
        return {"name": self.name("a"), "type": type_, "default": default}


def written(schema: Schema, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def read(data: bytes, writer: Schema, reader: Schema) -> Any:
    """What fastavro makes of it."""
    return fastavro.schemaless_reader(
        io.BytesIO(data), fastavro.parse_schema(writer), fastavro.parse_schema(reader)
    )


def plain(value: Any, type_: pa.DataType) -> Any:
    """A value of fastavro as Arrow gives it."""
    if value is None:
        return None
    if pa.types.is_struct(type_):
        return {field.name: plain(value[field.name], field.type) for field in type_}
    if pa.types.is_list(type_):
        return [plain(each, type_.value_type) for each in value]
    if pa.types.is_map(type_):
        return [(key, plain(each, type_.item_type)) for key, each in value.items()]
    if pa.types.is_binary(type_) and isinstance(value, str):
        return value.encode()
    if pa.types.is_string(type_):
        return value.decode() if isinstance(value, bytes) else str(value)
    if pa.types.is_float32(type_):
        return pa.scalar(float(value), pa.float64()).cast(pa.float32()).as_py()
    if pa.types.is_floating(type_):
        return float(value)
    return value


def decode(
    columns: pa.Schema, schemas: dict[int, Schema], messages: list[bytes]
) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
    texts = {id_: [json.dumps(schema)] for id_, schema in schemas.items()}
    batch, _, bad = _engine.decode(FORMAT, columns, messages, schemas=texts)
    return pa.record_batch(batch).to_pylist(), bad


def framed(id_: int, body: bytes) -> bytes:
    return b"\0" + id_.to_bytes(4, "big") + body


@pytest.mark.parametrize("seed", range(60))
def test_random_schemas_and_their_later_versions(seed: int) -> None:
    maker = Maker(seed)
    versions = [maker.record()]
    for _ in range(2):
        versions.append(maker.later(versions[-1]))
    columns = AvroColumns([json.dumps(versions[-1])], "the schema").schema()
    messages, expected = [], []
    for _ in range(60):
        at = maker.random.randrange(3)
        body = written(versions[at], maker.value(versions[at]))
        messages.append(framed(at + 1, body))
        value = read(body, versions[at], versions[-1])
        expected.append(plain(value, pa.struct(list(columns))))
    found, bad = decode(columns, dict(enumerate(versions, 1)), messages)
    assert bad == []
    assert found == expected


def test_bytes_in_defaults_are_one_a_character() -> None:
    fields = [
        {"name": "b", "type": "bytes", "default": "\u00ff\u0000"},
        {"name": "d", "type": DECIMAL, "default": "\u00ff"},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 5},
        {
            "name": "r",
            "type": {**EMPTY, "fields": [{"name": "x", "type": "int"}]},
            "default": {"x": 1},
        },
    ]
    columns = AvroColumns([json.dumps({**EMPTY, "name": "S", "fields": fields})], "it").schema()
    (row,), bad = decode(columns, {1: EMPTY}, [framed(1, b"")])
    assert bad == []
    assert row == {
        "b": b"\xff\0",
        "d": Decimal("-0.01"),
        "t": EPOCH + dt.timedelta(milliseconds=5),
        "r": {"x": 1},
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_message_costs_only_itself(seed: int) -> None:
    maker = Maker(1_000 + seed)
    schema = maker.record()
    columns = AvroColumns([json.dumps(schema)], "the schema").schema()
    messages, whole = [], []
    for number in range(200):
        body = written(schema, maker.value(schema))
        value = plain(read(body, schema, schema), pa.struct(list(columns)))
        if number % 5 == 0:
            cut = maker.random.randrange(len(body) + 1)
            body = maker.random.choice([body[:cut], body + b"\0", body[:cut] + b"\xff" * 11])
            alone, bad = decode(columns, {1: schema}, [framed(1, body)])
            assert len(alone) + len(bad) == 1
            whole += alone
        else:
            whole.append(value)
        messages.append(framed(1, body))
    found, bad = decode(columns, {1: schema}, messages)
    assert found == whole
    assert len(found) + len(bad) == len(messages)
    assert [row for row, _, _ in bad] == sorted(row for row, _, _ in bad)
    assert all(row % 5 == 0 for row, _, _ in bad)
