"""Protobuf through a real broker and a real registry: versions, imports, ids nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil.proto_compile import ProtoFile, compile_texts
from frazil.proto_schema import find_message
from google.protobuf import message_factory

from tests.python.proto_files import varint

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
    from tests.services.schema_registry import SchemaRegistry

pytestmark = pytest.mark.service

MONEY = 'syntax = "proto3"; package lib; message Money { int64 units = 1; string currency = 2; }'
FIRST = """syntax = "proto3";
package shop;
import "lib/money.proto";
message Order { int32 id = 1; lib.Money price = 2; message Line { int32 n = 1; } }
"""
SECOND = """syntax = "proto3";
package shop;
import "lib/money.proto";
import "google/protobuf/timestamp.proto";
message Order { int32 id = 1; lib.Money price = 2; google.protobuf.Timestamp at = 3; message Line { int32 n = 1; } }
"""  # noqa: E501


def made(file: ProtoFile, type_: str, **values: Any) -> bytes:
    return bytes(
        message_factory.GetMessageClass(find_message(file, type_))(**values).SerializeToString()
    )


def framed(id_: int, body: bytes, place: bytes = b"\0") -> bytes:
    return b"\0" + id_.to_bytes(4, "big") + place + body


def test_versions_imports_and_nested_messages(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    subject = f"{topic}-value"
    schema_registry.register(f"{topic}-money", MONEY, kind="PROTOBUF")
    needs = [{"name": "lib/money.proto", "subject": f"{topic}-money", "version": 1}]
    files, ids = [], []
    for text in (FIRST, SECOND):
        files.append(compile_texts([MONEY, text], ["lib/money.proto"], "it"))
        ids.append(schema_registry.register(subject, text, kind="PROTOBUF", references=needs))
    at: Any = {"seconds": 1_700_000_000}
    messages = [
        framed(ids[0], made(files[0], "Order", id=1, price={"units": 5, "currency": "EUR"})),
        framed(ids[1], made(files[1], "Order", id=2, at=at)),
        framed(ids[1], made(files[1], "Line", n=7), varint(4) + varint(0) + varint(0)),
        framed(0x7FFFFFFF, b""),
    ]
    kafka.produce(topic, messages)
    read = fz.read_kafka(
        topic, servers=kafka.bootstrap, format="protobuf", registry=schema_registry.url
    )
    assert read.schema.names == ["id", "price", "at"]
    rows = read.select(
        "id", units=fz.col("price").struct.field("units"), known=fz.col("at")
    ).write_memory()
    bad = read.rejected.write_memory(name="bad")
    fz.Pipeline("orders", rows, bad, checkpoint=str(tmp_path / "state")).run(
        until="now", quiet=True
    )
    got = rows.table().to_pylist()
    assert [(row["id"], row["units"], row["known"] is None) for row in got] == [
        (1, 5, True),
        (2, None, False),
        (0, None, True),  # a line has no field of these names
    ]
    (reason,) = bad.table()["reason"].to_pylist()
    assert f"schema {0x7FFFFFFF} of {schema_registry.url}" in reason
