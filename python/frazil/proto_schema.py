"""Messages of Protobuf as columns, and as the engine reads them."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.errors import SchemaError, nearest

if TYPE_CHECKING:
    from frazil.proto_compile import ProtoFile
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

NUMBER = b"fz:proto_number"
"""Metadata of a column: message and number of its field."""
DEPTH_MAX = 64
"""Levels of nesting of columns."""
_DECIMAL128_MAX, _DECIMAL256_MAX = 38, 76

# Types of fields by their number in descriptor.proto.
_TYPES: dict[int, tuple[str, pa.DataType | None]] = {
    1: ("double", pa.float64()),
    2: ("float", pa.float32()),
    3: ("int64", pa.int64()),
    4: ("uint64", pa.uint64()),
    5: ("int32", pa.int32()),
    6: ("fixed64", pa.uint64()),
    7: ("fixed32", pa.uint32()),
    8: ("bool", pa.bool_()),
    9: ("string", pa.string()),
    10: ("group", None),
    11: ("message", None),
    12: ("bytes", pa.binary()),
    13: ("uint32", pa.uint32()),
    14: ("enum", pa.string()),
    15: ("sfixed32", pa.int32()),
    16: ("sfixed64", pa.int64()),
    17: ("sint32", pa.int32()),
    18: ("sint64", pa.int64()),
}
_WRAPPERS = frozenset(
    f"google.protobuf.{each}Value"
    for each in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)


def find_message(file: ProtoFile, name: str | None) -> Descriptor:
    """The message of a name, short or full; without one, the only one that is not inside another.

    Raises
    ------
    SchemaError
        If there is none, or it is not plain which is meant.
    """
    known = {each.full_name: each for top in file.files for each in _all(top)}
    own = list(file.main.message_types_by_name.values())
    if name is None:
        if len(own) == 1:
            return own[0]
        shown = ", ".join(each.full_name for each in own[:8])
        raise SchemaError(f"{file.what} has {len(own)} messages: {shown}", "say which: message=")
    if name in known:
        return known[name]
    short = [each for full, each in known.items() if full.endswith(f".{name}")]
    if len(short) == 1:
        return short[0]
    like = nearest(name, list(known))
    raise SchemaError(
        f"{file.what} has no message {name!r}",
        f"did you mean {like!r}?" if like else "it has " + ", ".join(sorted(known)[:8]),
    )


def _all(file: Any) -> list[Descriptor]:
    found = list(file.message_types_by_name.values())
    for message in found:
        found.extend(message.nested_types)
    return found


class ProtoColumns:
    """The columns of a message.

    Parameters
    ----------
    file
        Where it is from.
    unit
        Of times: "ns", what the messages hold, or a coarser one, where it is known that they hold
        no more.
    """

    def __init__(self, file: ProtoFile, unit: str = "ns") -> None:
        self._file = file
        self._open: list[str] = []
        self._inside: list[str] = []
        self._known: dict[str, pa.DataType] = {
            "google.protobuf.Timestamp": pa.timestamp(unit, "UTC"),
            "google.protobuf.Duration": pa.duration(unit),
            "google.type.Date": pa.date32(),
            "google.type.TimeOfDay": pa.time64(unit),
        }

    def schema(self, message: Descriptor) -> pa.Schema:
        """The columns.

        Raises
        ------
        SchemaError
            A field has a type that no column has.
        """
        return pa.schema(self._fields(message))

    def _fields(self, message: Descriptor) -> list[pa.Field]:
        if not message.fields:
            raise self._cannot(f"message {message.full_name} without fields")
        if message.full_name in self._inside:
            raise self._cannot(f"message {message.full_name}, which holds itself,")
        if len(self._inside) >= DEPTH_MAX:
            raise self._cannot(f"a message deeper than {DEPTH_MAX} levels")
        self._inside.append(message.full_name)
        found = [self._field(field) for field in message.fields]
        self._inside.pop()
        return found

    def _field(self, field: FieldDescriptor) -> pa.Field:
        self._open.append(field.name)
        type_, default = self._type(field)
        self._open.pop()
        metadata = {NUMBER: f"{field.containing_type.full_name}:{field.number}".encode()}
        if default is not None:
            metadata[b"fz:default"] = json.dumps(default).encode()
        nullable = default is None and not field.is_required
        return pa.field(field.name, type_, nullable, metadata)

    def _type(self, field: FieldDescriptor) -> tuple[pa.DataType, Any]:
        """The type of a column, and the value that it has where a message has none; None: null."""
        if _is_map(field):
            key, value = (field.message_type.fields_by_name[each] for each in ("key", "value"))
            item = pa.field("value", self._value(value), False)
            return pa.map_(pa.field("key", self._value(key), False), item), {}
        type_ = self._value(field)
        if field.is_repeated:
            return pa.list_(pa.field("element", type_, False)), []
        if field.message_type is not None or field.is_required:
            return type_, None
        if field.has_presence and not field.has_default_value:
            return type_, None
        return type_, _default_json(field)

    def _value(self, field: FieldDescriptor) -> pa.DataType:
        type_ = _TYPES[field.type][1]
        if type_ is not None:
            return type_
        message = field.message_type
        name = message.full_name
        if name in _WRAPPERS:
            return self._value(message.fields_by_name["value"])
        if name == "confluent.type.Decimal":
            return self._decimal(field)
        if name in self._known:
            return self._known[name]
        return pa.struct(self._fields(message))

    def _decimal(self, field: FieldDescriptor) -> pa.DataType:
        parameters = self._file.parameters(field)
        try:
            precision = int(parameters["precision"])
            scale = int(parameters.get("scale", 0))
        except (KeyError, ValueError):
            raise self._cannot("a decimal without a precision") from None
        if not 1 <= precision <= _DECIMAL256_MAX or not 0 <= scale <= precision:
            raise self._cannot(f"a decimal of {precision} digits, {scale} of them after the point")
        wide = precision > _DECIMAL128_MAX
        return (pa.decimal256 if wide else pa.decimal128)(precision, scale)

    def _cannot(self, what: str) -> SchemaError:
        path = ".".join(self._open[:8])
        return SchemaError(
            f"{self._file.what}: field {path!r} is {what}, which no column has",
            "declare schema= with the columns you need: what is not in it is skipped",
        )


def _is_map(field: FieldDescriptor) -> bool:
    message = field.message_type
    return message is not None and bool(message.GetOptions().map_entry)


def _default_json(field: FieldDescriptor) -> Any:
    """The default as the decoder reads it."""
    value = field.default_value
    match _TYPES[field.type][0]:
        case "bytes":
            return base64.b64encode(value).decode()
        case "enum":
            named = field.enum_type.values_by_number.get(value)
            return named.name if named is not None else field.enum_type.values[0].name
        case "float" | "double":
            # JSON has no other numbers: of messages that know no such field it is null.
            return value if math.isfinite(value) else None
    return value


class EngineSchema:
    """Messages in the engine's JSON, with all that they are made of."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}
        self._enums: list[dict[str, Any]] = []
        self._enum_places: dict[str, int] = {}
        self._roots: dict[str, int] = {}

    def add_root(self, place: str, message: Descriptor) -> None:
        """Add a message that may be written, by its place in the file."""
        self._roots[place] = self._message(message)

    def add_file(self, file: ProtoFile) -> None:
        """Add all messages of the file itself."""

        def add(messages: Any, before: str) -> None:
            for number, message in enumerate(messages):
                place = f"{before}{number}"
                if not message.GetOptions().map_entry:
                    self.add_root(place, message)
                    add(message.nested_types, f"{place}.")

        add(file.main.message_types_by_name.values(), "")

    def to_text(self) -> str:
        """The JSON."""
        return json.dumps(
            {"messages": self._messages, "enums": self._enums, "roots": self._roots},
            separators=(",", ":"),
        )

    def _message(self, message: Descriptor) -> int:
        todo: list[Descriptor] = []

        def place(each: Descriptor) -> int:
            if each.full_name not in self._places:
                self._places[each.full_name] = len(self._messages)
                self._messages.append({"name": each.full_name, "fields": []})
                todo.append(each)
            return self._places[each.full_name]

        found = place(message)
        while todo:
            each = todo.pop()
            made = self._messages[self._places[each.full_name]]
            oneofs = {oneof.full_name: number for number, oneof in enumerate(each.oneofs)}
            for field in each.fields:
                json_field: dict[str, Any] = {
                    "number": field.number,
                    "name": field.name,
                    "type": _TYPES[field.type][0],
                    "label": _label(field),
                }
                if field.message_type is not None:
                    json_field["of"] = place(field.message_type)
                if field.enum_type is not None:
                    json_field["of"] = self._enum(field.enum_type)
                oneof = field.containing_oneof
                if oneof is not None and len(oneof.fields) > 1:
                    json_field["oneof"] = oneofs[oneof.full_name]
                default = _default_bits(field)
                if default is not None:
                    json_field["default"] = default
                made["fields"].append(json_field)
        return found

    def _enum(self, enum: EnumDescriptor) -> int:
        if enum.full_name not in self._enum_places:
            self._enum_places[enum.full_name] = len(self._enums)
            values = [[each.name, each.number] for each in enum.values]
            self._enums.append({"name": enum.full_name, "values": values})
        return self._enum_places[enum.full_name]


def _label(field: FieldDescriptor) -> str:
    if _is_map(field):
        return "map"
    if field.is_repeated:
        return "repeated"
    if field.is_required:
        return "required"
    return "optional" if field.has_presence else "implicit"


def _default_bits(field: FieldDescriptor) -> int | str | None:
    """The default that a field has of its own, as it would stand in a message."""
    if field.is_repeated or field.message_type is not None:
        return None
    value = field.default_value
    kind = _TYPES[field.type][0]
    entry = field.containing_type.GetOptions().map_entry
    first = kind == "enum" and (entry or not field.has_presence) and value != 0
    if not field.has_default_value and not first:
        return None
    match kind:
        case "string":
            return base64.b64encode(value.encode()).decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "double":
            return int.from_bytes(struct.pack("<d", value), "little")
        case "float":
            return int.from_bytes(struct.pack("<f", value), "little")
        case "sint32" | "sint64":
            return int(value) * 2 if value >= 0 else -int(value) * 2 - 1
        case "sfixed32":
            return int(value) & 0xFFFFFFFF
    return int(value)


def message_text(message: Descriptor) -> str:
    """One message in the engine's JSON."""
    made = EngineSchema()
    made.add_root("0", message)
    return made.to_text()


def file_text(file: ProtoFile) -> str:
    """All messages of a file in the engine's JSON."""
    made = EngineSchema()
    made.add_file(file)
    return made.to_text()
