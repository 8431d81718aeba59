"""Writing to Kafka: the method of a stream, and what is sent of changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from frazil.avro_format import Avro, avro_format
from frazil.changes import changes_of
from frazil.client_options import client_options_json
from frazil.duration import Duration, Size, duration_ms, size_bytes
from frazil.errors import ConfigError, ModeMismatch, PlanError, TypeMismatch, on_user_line
from frazil.node import Json, Port, SinkNode
from frazil.registry_format import registry_of
from frazil.security import Sasl, Tls, security_json, tls_client_options
from frazil.upsert import by_key
from frazil.write import Sink

if TYPE_CHECKING:
    from frazil.schema_registry import SchemaRegistry
    from frazil.secret import Secret

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of a message, whatever is asked for."""
KEY_COLUMNS_MAX = 64
"""Columns of a key."""

DELIVERY = "exactly once (to readers with isolation read_committed)"


class KafkaWriters:
    """The writer of a stream to Kafka."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def write_kafka(
        self,
        topic: str,
        *,
        servers: str | Sequence[str],
        format: Literal["json", "avro"] | Avro = "json",
        registry: str | SchemaRegistry | None = None,
        key: str | Sequence[str] = (),
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
        max_message: Size = "1MB",
        commit_every: Duration | None = None,
        on_lost_proof: Literal["fail", "resend", "skip"] = "fail",
        security: Sasl | Tls | None = None,
        client_options: Mapping[str, str | int | float | bool | Secret] | None = None,
        name: str | None = None,
    ) -> Sink:
        """Send the rows to a Kafka topic, each exactly once.

        Rows are sent when their checkpoint is made, in transactions. Who reads the topic with
        isolation "read_committed" has each row once, whatever crashes. Of a stream of changes every
        row that is there now is a message with its key, and a row that is gone one without a value.

        Parameters
        ----------
        topic
            Name of a topic that is there.
        servers
            Addresses of brokers: "host:port", several with commas or as a list.
        format
            "json": a message is an object with all columns. "avro" (or `Avro`): Avro behind the id
            of its schema, which is registered when a run starts.
        registry
            Where schemas of Avro are: its URL, or a `SchemaRegistry`.
        key
            Columns of the message's key, which chooses the partition. Of a stream of changes its
            own key, which need not be said.
        compression
            Of batches of messages.
        max_message
            Bytes of a message; a row that makes a larger one ends the run.
        commit_every
            A multiple of the pipeline's `checkpoint_every`; default each checkpoint.
        on_lost_proof
            What a start does with epochs of which the broker no longer knows whether they were
            sent (after days without a run): "fail", "resend" or "skip" them.
        security
            `Tls` or `Sasl`.
        client_options
            Options of librdkafka that have no name here.
        name
            Name of the sink; default from the topic.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "country": "DE"}])
        >>> orders.write_kafka("orders", servers="localhost:9092", key="id")
        Sink(kafka kafka:orders)
        """
        if not isinstance(topic, str) or not topic:
            raise PlanError(f"write_kafka got {topic!r}", 'write the name of a topic: "orders"')
        avro = avro_format(format)
        if avro is None:
            _one_of("format", format, ("json", "avro"))
        _one_of("compression", compression, ("none", "gzip", "snappy", "lz4", "zstd"))
        _one_of("on_lost_proof", on_lost_proof, ("fail", "resend", "skip"))
        what = f"write_kafka of {topic}"
        names = _key_of(self._port, key, what)
        schemas = registry_of(registry, {"kind": "json" if avro is None else "avro"}, what)
        server_list = servers if isinstance(servers, str) else ",".join(servers)
        if not server_list:
            raise PlanError(f"{what} needs servers", 'write servers="host:9092"')
        size = size_bytes(max_message, "max_message")
        if size > MESSAGE_BYTES_MAX:
            raise ConfigError(f"max_message={max_message!r}", f"up to {MESSAGE_BYTES_MAX} bytes")
        options: Json = {
            "topic": topic,
            "servers": server_list,
            "key": list(names),
            "compression": compression,
            "message_bytes_max": size,
            "on_lost_proof": on_lost_proof,
            "client_options": client_options_json(client_options or {})
            | tls_client_options(security),
        }
        if avro is not None and schemas is not None:
            made = avro._to_json(topic, self._port.schema, names)
            options["format"] = {**made, "registry": schemas.to_json()}
        if security is not None:
            options["security"] = security_json(security)
        if commit_every is not None:
            options["commit_every_ms"] = duration_ms(commit_every, "commit_every")
        changes = changes_of(self._port) is not None
        how = "json" if avro is None else "avro"
        how += f" by {', '.join(names)}" if names else ""
        return Sink(
            SinkNode(
                self._port.schema,
                by_key(self._port, names) if changes else self._port,
                "kafka",
                options,
                {},
                DELIVERY,
                f"{how}, a delete is a message without a value" if changes else how,
                name=name or f"kafka:{topic}",
            )
        )


def _key_of(port: Port, key: str | Sequence[str], what: str) -> tuple[str, ...]:
    """Columns of the key; those of changes have to be the ones that tell rows apart."""
    from frazil.stream import column_not_found

    names = (key,) if isinstance(key, str) else tuple(key)
    if len(names) > KEY_COLUMNS_MAX:
        raise PlanError(f"{what}: a key of {len(names)} columns", f"up to {KEY_COLUMNS_MAX}")
    for name in names:
        if not isinstance(name, str):
            raise TypeMismatch(f"{what}: key={name!r}", "names of columns are texts")
        if name not in port.schema.names:
            raise column_not_found(name, port.schema, what)
        if names.count(name) > 1:
            raise PlanError(f"{what}: key= names column {name!r} twice", "once is enough")
    found = changes_of(port)
    if found is None:
        return names
    if not found.key:
        raise ModeMismatch(
            f"{what}: the stream's changes have no key ({found.why})",
            "keep the key's columns; or .as_log() sends every change as a message of its own",
        )
    if names and set(names) != set(found.key):
        raise PlanError(
            f"{what}: key={list(names)}, and the stream has {found} ({found.why})",
            f"leave key= out, or write key={list(found.key)}; .as_log() sends every change as a "
            "message of its own, by any key",
        )
    return names or found.key


def _one_of(option: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{option}={value!r} is not offered", "one of " + ", ".join(map(repr, allowed))
        )
