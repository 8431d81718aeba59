"""Kafka Connect's Protobuf converter, as far as change events need it, on the official library.

The package is the schema's name up to its last dot, the message what is behind it; structs are
messages inside that one. Nulls are left out: which fields then say so is a setting of it.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from frazil.proto_compile import ProtoFile, compile_texts
from frazil.proto_schema import file_text
from google.protobuf import descriptor_pb2, message_factory

if TYPE_CHECKING:
    from google.protobuf.message import Message

Json = dict[str, Any]
Nulls = Literal["lost", "optional", "wrapper"]
"""As the converter comes, with `optional.for.nullables`, with `wrapper.for.nullables`."""

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "int8": (_Field.TYPE_INT32, "Int32Value"),
    "int16": (_Field.TYPE_INT32, "Int32Value"),
    "int32": (_Field.TYPE_INT32, "Int32Value"),
    "int64": (_Field.TYPE_INT64, "Int64Value"),
    "float": (_Field.TYPE_FLOAT, "FloatValue"),
    "double": (_Field.TYPE_DOUBLE, "DoubleValue"),
    "boolean": (_Field.TYPE_BOOL, "BoolValue"),
    "string": (_Field.TYPE_STRING, "StringValue"),
    "bytes": (_Field.TYPE_BYTES, "BytesValue"),
}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_IMPORTS = ("confluent/type/decimal.proto", "google/protobuf/wrappers.proto")


@cache
def _imported() -> bytes:
    """The files that schemas import, as descriptors."""
    text = "".join(f'import "{name}"; ' for name in _IMPORTS)
    found = descriptor_pb2.FileDescriptorSet()
    for each in compile_texts([f'syntax = "proto3"; {text}'], [], "it").files[:-1]:
        each.CopyToProto(found.file.add())
    return found.SerializeToString()


def proto_file(type_: Json, nulls: Nulls) -> ProtoFile:
    """The file of a schema in Connect's JSON form."""
    made = descriptor_pb2.FileDescriptorSet.FromString(_imported())
    package, _, name = type_["name"].rpartition(".")
    file = made.file.add(name="it.proto", syntax="proto3", package=package, dependency=_IMPORTS)
    _fill(file.message_type.add(name=name), type_, f".{type_['name']}", {}, nulls)
    return ProtoFile(made.SerializeToString(), "it")


def _fill(message: Any, type_: Json, full: str, seen: dict[str, str], nulls: Nulls) -> None:
    for number, each in enumerate(type_["fields"], 1):
        field = message.field.add(name=each["field"], number=number, label=_Field.LABEL_OPTIONAL)
        value = each
        if each["type"] == "array":
            field.label = _Field.LABEL_REPEATED
            value = each["items"]
        _type(field, message, value, full, seen, nulls)
        if nulls == "optional" and each.get("optional") and each["type"] != "array":
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")


def _type(
    field: Any, message: Any, type_: Json, full: str, seen: dict[str, str], nulls: Nulls
) -> None:
    if type_["type"] == "struct":
        field.type = _Field.TYPE_MESSAGE
        if type_["name"] not in seen:
            name = type_["name"].rpartition(".")[2]
            name += "Message" if name == field.name else ""
            seen[type_["name"]] = f"{full}.{name}"
            _fill(message.nested_type.add(name=name), type_, f"{full}.{name}", seen, nulls)
        field.type_name = seen[type_["name"]]
    elif type_.get("name") == _DECIMAL:
        field.type, field.type_name = _Field.TYPE_MESSAGE, ".confluent.type.Decimal"
    elif nulls == "wrapper" and type_.get("optional"):
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".google.protobuf.{_TYPES[type_['type']][1]}"
    else:
        field.type = _TYPES[type_["type"]][0]


def put(message: Any, type_: Json, value: Json) -> None:
    """Put a value of Connect's JSON form into a message."""
    for each in type_["fields"]:
        name, found = each["field"], value.get(each["field"])
        if found is None:
            continue
        if each["type"] != "array":
            _put(message, name, each, found)
            continue
        items = getattr(message, name)
        for item in found:
            assert item is not None, "the converter fails at a null in a list"
            if hasattr(items, "add"):
                _put_message(items.add(), each["items"], item)
            else:
                items.append(base64.b64decode(item) if each["items"]["type"] == "bytes" else item)


def _put(message: Any, name: str, type_: Json, value: Any) -> None:
    if message.DESCRIPTOR.fields_by_name[name].message_type is not None:
        _put_message(getattr(message, name), type_, value)
    else:
        setattr(message, name, base64.b64decode(value) if type_["type"] == "bytes" else value)


def _put_message(message: Any, type_: Json, value: Any) -> None:
    message.SetInParent()
    if type_["type"] == "struct":
        put(message, type_, value)
        return
    message.value = base64.b64decode(value) if type_["type"] == "bytes" else value
    if type_.get("name") == _DECIMAL:
        message.scale = int(type_["parameters"]["scale"])
        message.precision = int(type_["parameters"].get("connect.decimal.precision", 0))


class ProtoRegistry:
    """Schemas by id, as the engine gets them, and messages with these ids."""

    def __init__(self, nulls: Nulls) -> None:
        self.nulls = nulls
        self.texts: dict[int, list[str]] = {}
        self._known: dict[str, tuple[int, type[Message]]] = {}

    def message(self, type_: Json, value: Json) -> bytes:
        """A value, behind the id of its schema."""
        text = json.dumps(type_)
        if text not in self._known:
            file = proto_file(type_, self.nulls)
            (main,) = file.main.message_types_by_name.values()
            self._known[text] = (len(self._known) + 1, message_factory.GetMessageClass(main))
            self.texts[len(self._known)] = [file_text(file)]
        id_, class_ = self._known[text]
        made = class_()
        put(made, type_, value)
        return b"\0" + id_.to_bytes(4, "big") + b"\0" + bytes(made.SerializeToString())
