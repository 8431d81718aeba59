"""Protobuf schemas and messages for tests, made by the official library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil import _engine
from frazil.proto_compile import ProtoFile, compile_texts
from frazil.proto_schema import ProtoColumns, find_message, message_text
from google.protobuf import message_factory

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Proto:
    """A .proto text: its messages, columns and decoder."""

    def __init__(self, text: str | ProtoFile, message: str, unit: str = "us") -> None:
        self.file = compile_texts([text], [], "the schema") if isinstance(text, str) else text
        self.message = find_message(self.file, message)
        self.format = json.dumps({"kind": "protobuf", "message": message_text(self.message)})
        self._unit = unit

    def columns(self) -> pa.Schema:
        """Those of the message."""
        return ProtoColumns(self.file, self._unit).schema(self.message)

    def type(self, name: str | None = None) -> type[Message]:
        """The class of a message, the main one by default."""
        found = self.message if name is None else find_message(self.file, name)
        return message_factory.GetMessageClass(found)

    def decode(
        self, messages: list[bytes], columns: pa.Schema | None = None
    ) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
        """Rows, and number, column and reason of bad ones."""
        batch, _, bad = _engine.decode(self.format, columns or self.columns(), messages)
        return pa.record_batch(batch).to_pylist(), bad


def varint(value: int) -> bytes:
    """A number as it stands in a message."""
    value &= (1 << 64) - 1
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def tag(number: int, wire: int) -> bytes:
    """What stands before a value."""
    return varint(number << 3 | wire)


def sized(number: int, body: bytes) -> bytes:
    """A field of bytes."""
    return tag(number, 2) + varint(len(body)) + body
