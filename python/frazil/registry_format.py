"""Formats whose schemas are in a registry, as readers declare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from frazil.avro_schema import AvroColumns
from frazil.errors import ConfigError, PlanError, SchemaError
from frazil.json_schema import JsonSchemaColumns
from frazil.proto_compile import ProtoFile, compile_texts, require_protobuf
from frazil.proto_schema import ProtoColumns
from frazil.schema import SchemaLike, checked, resolve
from frazil.schema_registry import SchemaRegistry
from frazil.secret import resolve_secrets

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.node import Json
    from frazil.registry_client import RegistryClient

PLAIN = ("avro", "json-schema", "protobuf")
"""Formats of messages that name their schema by its id."""
REGISTERED = (*PLAIN, "debezium-avro", "debezium-protobuf")
"""These, and those of change events."""
MAY_BE_REGISTERED = ("debezium-json",)
"""Formats of messages that do so where a registry is given."""
_KINDS = {
    "json-schema": "JSON",
    "debezium-json": "JSON",
    "protobuf": "PROTOBUF",
    "debezium-protobuf": "PROTOBUF",
}


def registry_of(
    registry: str | SchemaRegistry | None, format: Json, reader: str
) -> SchemaRegistry | None:
    """Check that a registry is given where a format has its schemas there, and nowhere else.

    Raises
    ------
    ConfigError
        If not.
    """
    kind = str(format["kind"])
    if _KINDS.get(kind) == "PROTOBUF":
        require_protobuf(compiler="message" not in format)
    known = kind in REGISTERED or (registry is not None and kind in MAY_BE_REGISTERED)
    if not known or "message" in format:
        if registry is not None:
            raise ConfigError(
                f"{reader}: registry= is given, and this {kind} has no schemas there",
                "formats with a registry: "
                + ", ".join(map(repr, (*REGISTERED, *MAY_BE_REGISTERED))),
            )
        return None
    if registry is None and kind == "json-schema":
        return None  # JSON can be read without
    if registry is None:
        raise ConfigError(
            f"{reader}: messages in {kind} name their schema by an id, and no registry is given",
            'write registry="http://localhost:8081", or fz.SchemaRegistry(...)',
        )
    if isinstance(registry, str):
        return SchemaRegistry(registry)
    if not isinstance(registry, SchemaRegistry):
        raise ConfigError(
            f"{reader}: registry={registry!r} is not offered", "its URL, or fz.SchemaRegistry(...)"
        )
    return registry


def message_schema(
    schema: SchemaLike | None,
    registry: SchemaRegistry | None,
    topics: Sequence[str],
    kind: str,
    *,
    unwrapped: bool,
) -> pa.Schema:
    """The columns that are declared, or those of the newest schema of the topics in the registry:
    subject ``<topic>-value``.

    Raises
    ------
    PlanError
        If there is none, or topics have different ones.
    """
    if schema is not None:
        return resolve(schema)
    if registry is None:
        raise PlanError("messages in JSON carry no schema, and none is given", "write schema=")
    from frazil.registry_client import RegistryClient

    client = RegistryClient(resolve_secrets(registry.to_json()))
    try:
        found = [_columns(client, topic, kind, unwrapped) for topic in topics]
    finally:
        client.close()
    for topic, other in zip(topics[1:], found[1:], strict=True):
        if not other.equals(found[0]):
            raise PlanError(
                f"topics {topics[0]} and {topic} have different schemas in {registry.name}",
                "declare schema= with the columns that both have",
            )
    return found[0]


def _columns(client: RegistryClient, topic: str, kind: str, unwrapped: bool) -> pa.Schema:
    from frazil.registry_client import SchemaMissing

    subject = f"{topic}-value"
    try:
        id_, schema = client.latest(subject)
    except SchemaMissing:
        raise PlanError(
            f"schema registry {client.name} has no subject {subject!r}",
            "declare schema=, if the producer names its subjects otherwise or writes later",
        ) from None
    what = f"schema {id_} of {subject}"
    wanted = _KINDS.get(kind, "AVRO")
    if schema.kind != wanted:
        raise SchemaError(f"{what} is {schema.kind}", "read it with the format of that name")
    side = "after" if kind.startswith("debezium-") and not unwrapped else None
    if wanted == "JSON":
        connect = kind == "debezium-json"
        columns = JsonSchemaColumns(schema.texts, schema.names, what, connect=connect)
        return checked(columns.schema(side))
    if wanted == "PROTOBUF":
        return checked(_proto_columns(compile_texts(schema.texts, schema.names, what), side))
    return checked(AvroColumns(schema.texts, what).schema(side))


def _proto_columns(file: ProtoFile, side: str | None) -> pa.Schema:
    """Those of the first message, which serializers write if they are not told otherwise; or of
    the message that is one of its fields."""
    for message in file.main.message_types_by_name.values():
        if side is None:
            return ProtoColumns(file).schema(message)
        field = message.fields_by_name.get(side)
        if field is None or field.message_type is None or field.is_repeated:
            raise SchemaError(
                f"{file.what} is no change event: {message.full_name} has no message {side!r}",
                "declare schema=, or read it as what it is",
            )
        return ProtoColumns(file).schema(field.message_type)
    raise SchemaError(f"{file.what} has no message", "declare schema=")
