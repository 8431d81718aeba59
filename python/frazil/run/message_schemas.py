"""Schemas of the messages that a sink sends, as the registry has them before the first is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil import _engine
from frazil.errors import ConfigError, FrazilError, SchemaError
from frazil.registry_client import RegistryClient, SchemaMissing, SchemaRefused

if TYPE_CHECKING:
    from frazil.run.targets import SinkSpec


def message_schemas(spec: SinkSpec) -> Mapping[str, Any]:
    """What the engine's half has to know of them: ids, and the texts to write by.

    Schemas that are not there are registered, if the sink is allowed to.

    Raises
    ------
    RegistryAway
        The registry does not answer.
    ConfigError, SchemaError
        It has no such schema, refuses it, or the columns do not go with it.
    """
    format = spec.options["format"]
    columns = {
        "value": spec.schema,
        "key": pa.schema([spec.schema.field(name) for name in spec.options["key"]]),
    }
    client = RegistryClient(format["registry"])
    try:
        return {
            part: _schema(spec, client, format[part], columns[part], format["auto_register"])
            for part in ("value", "key")
            if part in format
        }
    finally:
        client.close()


def _schema(
    spec: SinkSpec,
    client: RegistryClient,
    asked: Mapping[str, Any],
    columns: pa.Schema,
    register: bool,
) -> Mapping[str, Any]:
    subject = asked["subject"]
    where = f"sink {spec.name}: subject {subject!r} of schema registry {client.name}"
    if asked["version"] is None:
        return {
            "id": _own(client, where, subject, asked["schema"], register),
            "texts": [asked["schema"]],
        }
    try:
        id_, found = client.version(subject, asked["version"])
    except SchemaMissing as error:
        raise ConfigError(
            f"{where} has no version {asked['version']}: {error}",
            "register it, or leave version= out: then the schema is made of the columns",
        ) from None
    if found.kind != "AVRO":
        raise SchemaError(f"{where}, version {asked['version']}, is {found.kind}", "name another")
    try:
        _engine.check_avro(list(found.texts), columns)
    except FrazilError as error:
        what = f"{where}, version {asked['version']}: {error.what}"
        raise SchemaError(what, *error.lines) from None
    return {"id": id_, "texts": list(found.texts)}


def _own(client: RegistryClient, where: str, subject: str, text: str, register: bool) -> int:
    """The id of a schema that is made of columns."""
    if not register:
        try:
            return client.lookup(subject, text)
        except SchemaMissing as error:
            raise ConfigError(
                f"{where} does not have the schema of the columns: {error}",
                f"register it, or say Avro(auto_register=True): {json.dumps(json.loads(text))}",
            ) from None
    try:
        return client.register(subject, text)
    except SchemaRefused as error:
        raise SchemaError(
            f"{where} refuses the schema of the columns: {error}",
            "columns may be added that may be null, and dropped; for other changes name another "
            "subject or topic, or change the compatibility of this one",
        ) from None
