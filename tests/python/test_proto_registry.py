"""Protobuf behind a registry, the engine given the schemas that it would have fetched."""

from __future__ import annotations

import json
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import _engine
from frazil.errors import ConfigError
from frazil.proto_compile import ProtoFile, compile_texts
from frazil.proto_schema import ProtoColumns, file_text, find_message
from frazil.registry_client import Registered
from frazil.run.schemas import _answer
from google.protobuf import message_factory

from tests.python.proto_files import varint

FORMAT = json.dumps({"kind": "protobuf", "registry": "http://registry"})
FIRST = """
syntax = "proto3";
package shop;
message Order { int32 id = 1; string note = 2; message Item { string name = 1; } }
message Refund { int32 id = 1; }
"""
# A field was added, another renamed, one got wider; a message came first.
SECOND = """
syntax = "proto3";
package shop;
message Audit { string who = 1; }
message Order { int64 id = 1; string remark = 2; optional double amount = 3; Kind kind = 4; }
enum Kind { NORMAL = 0; GIFT = 1; }
"""


def compiled(text: str) -> ProtoFile:
    return compile_texts([text], [], "it")


def made(file: ProtoFile, type_: str, /, **values: Any) -> bytes:
    return bytes(
        message_factory.GetMessageClass(find_message(file, type_))(**values).SerializeToString()
    )


def framed(id_: int, place: list[int], body: bytes) -> bytes:
    where = b"\0" if place == [0] else b"".join(varint(2 * n) for n in (len(place), *place))
    return b"\0" + id_.to_bytes(4, "big") + where + body


def decode(
    columns: pa.Schema, schemas: dict[int, str], messages: list[bytes]
) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
    texts = {id_: [text] for id_, text in schemas.items()}
    batch, _, bad = _engine.decode(FORMAT, columns, messages, kind="PROTOBUF", schemas=texts)
    return pa.record_batch(batch).to_pylist(), bad


def test_messages_of_two_versions() -> None:
    first, second = compiled(FIRST), compiled(SECOND)
    columns = ProtoColumns(second).schema(find_message(second, "Order"))
    messages = [
        framed(7, [0], made(first, "Order", id=1, note="a")),
        framed(9, [1], made(second, "Order", id=2**40, remark="b", amount=1.5, kind=1)),
        framed(9, [1], b""),
    ]
    rows, bad = decode(columns, {7: file_text(first), 9: file_text(second)}, messages)
    assert bad == []
    assert rows == [
        {"id": 1, "remark": "a", "amount": None, "kind": "NORMAL"},
        {"id": 2**40, "remark": "b", "amount": 1.5, "kind": "GIFT"},
        {"id": 0, "remark": "", "amount": None, "kind": "NORMAL"},
    ]


def test_which_message_of_the_file_it_is() -> None:
    first = compiled(FIRST)
    columns = pa.schema([pa.field("id", pa.int32()), pa.field("name", pa.string())])
    messages = [
        framed(1, [0, 0], made(first, "Item", name="x")),
        framed(1, [1], made(first, "Refund", id=5)),
        b"\0\0\0\0\1\x02\x00" + made(first, "Order", id=6),  # the first one, written at length
        framed(1, [2], b""),
        b"\0\0\0\0\1",
        b"\0\0\0\0\1\x01",
        b"\0\0\0\0\1\x02",
        b"\x08\x01",
    ]
    rows, bad = decode(columns, {1: file_text(first)}, messages)
    assert rows == [{"id": None, "name": "x"}, {"id": 5, "name": None}, {"id": 6, "name": None}]
    where = "behind the id of its schema does not stand which message of it this is"
    assert [(number, reason) for number, _, reason in bad] == [
        (3, "schema 1 of http://registry has no message 2"),
        (4, where),
        (5, where),
        (6, where),
        (7, "2 bytes, and a message begins with a zero and the four bytes of its schema's id"),
    ]


def test_a_schema_that_does_not_go_with_the_columns() -> None:
    first, second = compiled(FIRST), compiled(SECOND)
    columns = pa.schema([pa.field("amount", pa.float64(), False)])
    messages = [
        framed(1, [0], made(first, "Order", id=1)),
        framed(2, [1], made(second, "Order", amount=2.0)),
        framed(2, [1], made(second, "Order")),
    ]
    rows, bad = decode(columns, {1: file_text(first), 2: file_text(second)}, messages)
    assert rows == [{"amount": 2.0}]
    assert [(number, column) for number, column, _ in bad] == [(0, "amount"), (2, "amount")]
    assert "no such field" in bad[0][2]


def test_what_a_registry_has_is_compiled() -> None:
    item = 'syntax = "proto3"; package lib; message Item { string name = 1; }'
    order = (
        'syntax = "proto3"; import "lib/item.proto"; import "google/type/date.proto"; '
        "message Order { lib.Item item = 1; google.type.Date day = 2; }"
    )
    answer = _answer(3, Registered("PROTOBUF", (item, order), ("lib/item.proto",)))
    assert json.loads(answer["texts"][0])["roots"] == {"0": 0}
    answer = _answer(3, Registered("PROTOBUF", ("message {",), ()))
    assert "schema.proto:1:" in answer["missing"]
    answer = _answer(3, Registered("AVRO", ('"string"',), ()))
    assert answer == {"kind": "AVRO", "texts": ('"string"',)}


def test_protobuf_without_a_file_needs_a_registry() -> None:
    with pytest.raises(ConfigError, match="name their schema by an id"):
        fz.read_kafka("t", servers="h", format="protobuf", schema={"id": int})
