"""Protobuf of random schemas and messages, written and parsed by the official library."""

from __future__ import annotations

import datetime as dt
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from frazil.proto_compile import ProtoFile
from google.protobuf import descriptor_pb2, duration_pb2, timestamp_pb2, wrappers_pb2

from tests.python.proto_files import Proto, sized, tag, varint

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = [*range(1, 10), 12, 13, *range(15, 19)]  # of FieldDescriptorProto.Type
KEYS = [3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 17, 18]
WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
KNOWN = (
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    *(f"google.protobuf.{each}Value" for each in WRAPPERS),
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
RANGES = {
    3: (-(2**63), 2**63 - 1),
    4: (0, 2**64 - 1),
    5: (-(2**31), 2**31 - 1),
    6: (0, 2**64 - 1),
    7: (0, 2**32 - 1),
    13: (0, 2**32 - 1),
    15: (-(2**31), 2**31 - 1),
    16: (-(2**63), 2**63 - 1),
    17: (-(2**31), 2**31 - 1),
    18: (-(2**63), 2**63 - 1),
}


class Maker:
    """Draws schemas and messages."""

    def __init__(self, seed: int, flip: bool = False) -> None:
        self.random = Random(seed)
        self.flip = flip  # repeated numbers the other way, packed or not: who reads cannot know
        self.names = 0
        self.proto3 = self.random.random() < 0.5

    def file(self) -> ProtoFile:
        made = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t")
        made.syntax = "proto3" if self.proto3 else "proto2"
        files = descriptor_pb2.FileDescriptorSet()
        for library in (timestamp_pb2, duration_pb2, wrappers_pb2):
            made.dependency.append(library.DESCRIPTOR.name)
            library.DESCRIPTOR.CopyToProto(files.file.add())
        enum = made.enum_type.add(name="Color")
        for number, name in ((0 if self.proto3 else 2, "RED"), (1, "GREEN"), (-3, "BLUE")):
            enum.value.add(name=name, number=number)
        self.message(made.message_type.add(name="M"), ".t.M", 0)
        files.file.append(made)
        return ProtoFile(files.SerializeToString(), "it")

    def name(self, word: str) -> str:
        self.names += 1
        return f"{word}{self.names}"

    def message(self, message: Any, full: str, depth: int) -> None:
        random = self.random
        numbers = random.sample([*range(1, 16), 200, 255, 256, 5_000, 2**29 - 1], 10)
        for number in numbers[: random.randint(1, 8)]:
            self.field(message, full, number, depth)
        if random.random() < 0.5:
            message.oneof_decl.add(name=self.name("o"))
            for number in random.sample([*range(20, 30), 300, 301], random.randint(1, 4)):
                field = message.field.add(name=self.name("f"), number=number, oneof_index=0)
                field.label = Field.LABEL_OPTIONAL
                self.type(message, field, full, depth)
        if self.proto3:  # behind all others
            for field in message.field:
                if field.proto3_optional:
                    field.oneof_index = len(message.oneof_decl)
                    message.oneof_decl.add(name=f"_{field.name}")

    def field(self, message: Any, full: str, number: int, depth: int) -> None:
        random = self.random
        field = message.field.add(name=self.name("f"), number=number)
        draw = random.random()
        if draw < 0.15:
            self.map(message, field, full, depth)
            return
        if draw < 0.4:
            field.label = Field.LABEL_REPEATED
            self.type(message, field, full, depth)
            if field.type not in (9, 10, 11, 12):
                field.options.packed = (random.random() < 0.5) != self.flip
            return
        field.label = Field.LABEL_OPTIONAL
        self.type(message, field, full, depth)
        if field.type in (10, 11):
            return
        if self.proto3:
            field.proto3_optional = random.random() < 0.4
        elif random.random() < 0.2:
            field.label = Field.LABEL_REQUIRED
        elif random.random() < 0.4 and field.type in (3, 5, 9, 14, 1, 17, 15, 8):
            field.default_value = {
                3: "-7", 5: "-8", 9: "none", 14: "GREEN", 1: "1.5", 17: "-9", 15: "-10", 8: "true",
            }[field.type]  # fmt: skip

    def type(self, message: Any, field: Any, full: str, depth: int) -> None:
        random = self.random
        draw = random.random()
        if depth < 3 and draw < 0.2:
            name = self.name("N")
            group = not self.proto3 and random.random() < 0.3
            field.type = Field.TYPE_GROUP if group else Field.TYPE_MESSAGE
            field.type_name = f"{full}.{name}"
            if group:
                field.name = name.lower()
            self.message(message.nested_type.add(name=name), f"{full}.{name}", depth + 1)
        elif draw < 0.3:
            field.type, field.type_name = Field.TYPE_MESSAGE, f".{random.choice(KNOWN)}"
        elif draw < 0.4:
            field.type, field.type_name = Field.TYPE_ENUM, ".t.Color"
        else:
            field.type = random.choice(SCALARS)

    def map(self, message: Any, field: Any, full: str, depth: int) -> None:
        camel = "".join(part.title() for part in field.name.split("_")) + "Entry"
        field.label, field.type = Field.LABEL_REPEATED, Field.TYPE_MESSAGE
        field.type_name = f"{full}.{camel}"
        entry = message.nested_type.add(name=camel)
        entry.options.map_entry = True
        entry.field.add(
            name="key", number=1, label=Field.LABEL_OPTIONAL, type=self.random.choice(KEYS)
        )
        value = entry.field.add(name="value", number=2, label=Field.LABEL_OPTIONAL)
        while True:  # messages of a map are beside it, not in its entry
            value.ClearField("type_name")
            value.name = "value"
            self.type(message, value, full, depth)
            # The library wants a zero in enums of maps.
            if value.type != Field.TYPE_GROUP and (self.proto3 or value.type != Field.TYPE_ENUM):
                return

    # Values.

    def fill(self, message: Message) -> Message:
        for field in message.DESCRIPTOR.fields:
            if not field.is_required and self.random.random() < 0.4:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self.fill_map(getattr(message, field.name), field)
            elif field.is_repeated:
                for _ in range(self.random.randint(0, 4)):
                    if field.message_type is not None:
                        self.fill_value(getattr(message, field.name).add())
                    else:
                        getattr(message, field.name).append(self.scalar(field))
            elif field.message_type is not None:
                inside = getattr(message, field.name)
                inside.SetInParent()
                self.fill_value(inside)
            else:
                setattr(message, field.name, self.scalar(field))
        return message

    def fill_value(self, message: Message) -> None:
        match message.DESCRIPTOR.full_name:
            case "google.protobuf.Timestamp":
                micros = self.random.randint(-(10**15), 10**16)
                message.seconds, message.nanos = micros // 10**6, micros % 10**6 * 1000  # type: ignore[attr-defined]
            case "google.protobuf.Duration":
                micros = self.random.randint(-(10**15), 10**15)
                sign = -1 if micros < 0 else 1
                message.seconds = sign * (abs(micros) // 10**6)  # type: ignore[attr-defined]
                message.nanos = sign * (abs(micros) % 10**6 * 1000)  # type: ignore[attr-defined]
            case _:
                self.fill(message)

    def fill_map(self, values: Any, field: FieldDescriptor) -> None:
        entry = field.message_type.fields_by_name
        for _ in range(self.random.randint(0, 4)):
            key = self.scalar(entry["key"])
            if entry["value"].message_type is not None:
                self.fill_value(values[key])
            else:
                values[key] = self.scalar(entry["value"])

    def scalar(self, field: FieldDescriptor) -> Any:
        random = self.random
        match field.type:
            case 1:
                return random.choice([random.gauss(0, 1e9), 0.0, float("inf"), 5e-324])
            case 2:
                return pa.scalar(random.uniform(-1e6, 1e6), pa.float32()).as_py()
            case 8:
                return random.random() < 0.5
            case 9:
                return "".join(random.choices('ab\0\n"é€😀', k=random.randint(0, 12)))
            case 12:
                return random.randbytes(random.randint(0, 12))
            case 14:
                return random.choice(field.enum_type.values).number
        least, most = RANGES[field.type]
        value = random.randint(least, most) >> random.randrange(64)
        return random.choice([0, 1, least, most, max(value, least)])

    def unknown(self, depth: int = 0) -> bytes:
        """A field that no schema has."""
        random = self.random
        number = random.choice([31, 254, 257, 4_999, 2**29 - 2])
        match random.randrange(5 if depth < 3 else 4):
            case 0:
                return tag(number, 0) + varint(random.getrandbits(64))
            case 1:
                return tag(number, 1) + random.randbytes(8)
            case 2:
                return sized(number, random.randbytes(random.randint(0, 20)))
            case 3:
                return tag(number, 5) + random.randbytes(4)
        inside = b"".join(self.unknown(depth + 1) for _ in range(random.randint(0, 3)))
        return tag(number, 3) + inside + tag(number, 4)


def expected(message: Message) -> dict[str, Any]:
    """A message as the library reads it, in Arrow's values."""
    made: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inside = field.message_type.fields_by_name["value"]
            made[field.name] = {key: plain(each, inside) for key, each in value.items()}
        elif field.is_repeated:
            made[field.name] = [plain(each, field) for each in value]
        elif (
            field.has_presence and not field.has_default_value and not message.HasField(field.name)
        ):
            made[field.name] = None
        else:
            made[field.name] = plain(value, field)
    return made


def plain(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if field.message_type is None:
        return value
    name = field.message_type.full_name
    if name == "google.protobuf.Timestamp":
        return EPOCH + dt.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    if name == "google.protobuf.Duration":
        micros = value.nanos // 1000 if value.nanos >= 0 else -(-value.nanos // 1000)
        return dt.timedelta(seconds=value.seconds, microseconds=micros)
    return value.value if name in KNOWN else expected(value)


def unordered(value: Any, type_: pa.DataType) -> Any:
    """What was decoded, maps as dicts."""
    if value is None:
        return None
    if pa.types.is_struct(type_):
        return {field.name: unordered(value[field.name], field.type) for field in type_}
    if pa.types.is_list(type_):
        return [unordered(each, type_.value_type) for each in value]
    if pa.types.is_map(type_):
        made = {key: unordered(each, type_.item_type) for key, each in value}
        assert len(made) == len(value)
        return made
    return value if value == value else "NaN"


@pytest.mark.parametrize("seed", range(60))
def test_random_messages_are_read_as_the_library_reads_them(seed: int) -> None:
    maker = Maker(seed)
    proto = Proto(maker.file(), "t.M")
    other = Proto(Maker(seed, flip=True).file(), "t.M")  # the same but for packed
    columns = proto.columns()
    messages, wanted = [], []
    for _ in range(40):
        parts = []
        for _ in range(maker.random.choice([1, 1, 1, 2, 3])):  # several are merged
            writer = maker.random.choice([proto, other]).type()
            parts.append(maker.fill(writer()).SerializePartialToString())
            if maker.random.random() < 0.3:
                parts.append(maker.unknown())
        messages.append(b"".join(parts))
        parsed = proto.type().FromString(messages[-1])
        wanted.append(expected(parsed))
    found, bad = proto.decode(messages, columns)
    assert bad == []
    assert [unordered(row, pa.struct(list(columns))) for row in found] == wanted


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_message_costs_only_itself(seed: int) -> None:
    maker = Maker(1_000 + seed)
    proto = Proto(maker.file(), "t.M")
    columns = proto.columns()
    messages, whole = [], []
    for number in range(120):
        body = maker.fill(proto.type()()).SerializeToString()
        value = expected(proto.type().FromString(body))
        if number % 4 == 0:
            body = damaged(maker.random, body)
            alone, bad = proto.decode([body], columns)
            assert len(alone) + len(bad) == 1
            whole += [unordered(row, pa.struct(list(columns))) for row in alone]
        else:
            whole.append(value)
        messages.append(body)
    found, bad = proto.decode(messages, columns)
    assert [unordered(row, pa.struct(list(columns))) for row in found] == whole
    assert len(found) + len(bad) == len(messages)
    assert [row for row, _, _ in bad] == sorted(row for row, _, _ in bad)
    assert all(row % 4 == 0 for row, _, _ in bad)


def damaged(random: Random, body: bytes) -> bytes:
    cut = random.randrange(len(body) + 1)
    flipped = bytearray(body or b"\0")
    flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return random.choice([body[:cut], bytes(flipped), body[:cut] + b"\xff" * 11, body + b"\x0c"])
