"""Objects of a store, read as notifications on a topic of Kafka say that they were created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from frazil.client_options import client_options_json
from frazil.errors import PlanError, SourceError, on_user_line
from frazil.raw_rows import BytesSource
from frazil.read import FileMetadata, _one_of, _source
from frazil.schema import SchemaLike, resolve
from frazil.secret import Secret, resolve_secrets
from frazil.security import S3, Sasl, Tls, security_json, tls_client_options

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError
    from frazil.node import OnBadRow
    from frazil.python_source import PartitionReader, Position
    from frazil.stream import Stream

_NAMES = {
    "protocol": "security.protocol",
    "mechanism": "sasl.mechanism",
    "username": "sasl.username",
    "password": "sasl.password",
    "ca_file": "ssl.ca.location",
    "certificate_file": "ssl.certificate.location",
    "key_file": "ssl.key.location",
    "key_password": "ssl.key.password",
}


@dataclass(frozen=True, kw_only=True)
class ObjectFormat:
    """How objects are written, and what is wanted of them."""

    format: str
    compression: str
    encoded_keys: bool
    schema: pa.Schema
    metadata: tuple[str, ...]


class ObjectNotifications(BytesSource):
    """A topic of notifications; made by `read_object_notifications`.

    Parameters
    ----------
    topic, kafka
        The topic, and the client's settings, secrets by reference.
    s3
        How to reach the store, secrets by reference.
    start
        None: from the first notification that there is; else from this time on.
    form
        How objects are written.
    """

    def __init__(
        self,
        topic: str,
        kafka: Mapping[str, Any],
        s3: Mapping[str, Any],
        start: datetime | None,
        form: ObjectFormat,
    ) -> None:
        self._topic = topic
        self._kafka = dict(kafka)
        self._s3 = dict(s3)
        self._start = start
        self._form = form
        self._lister: Consumer | None = None
        self._refused: KafkaError | None = None
        self._found: dict[str, Position] = {}

    def partitions(self) -> Mapping[str, Position]:
        """Those of the topic."""
        # Here, as these libraries are slow to import.
        from confluent_kafka import Consumer, KafkaException
        from frazil.notification_reader import ANSWER_S, failed, refused

        doing = f"asking for the partitions of {self._topic}"
        try:
            if self._lister is None:
                self._lister = Consumer({**self._config(), "error_cb": self._note})
            listed = self._lister.list_topics(self._topic, timeout=ANSWER_S)
            described = listed.topics[self._topic]
            if described.error is not None:
                raise SourceError(f"{doing}: {described.error.str()}", "create the topic first")
            for number in described.partitions:
                name = f"{self._topic}-{number}"
                if name not in self._found:
                    self._found[name] = self._first(number)
        except KafkaException as error:
            if self._lister is not None:
                self._lister.poll(0)  # has the client say why
            if self._refused is not None:
                raise refused(self._refused, doing) from error
            raise failed(error, doing) from error
        return dict(self._found)

    def open(self, partition: str, position: Position) -> PartitionReader:
        """Read a partition from a position on."""
        from frazil.notification_reader import NotificationReader
        from frazil.object_reader import Stores

        number = int(partition.rpartition("-")[2])
        stores = Stores(resolve_secrets(self._s3))
        return NotificationReader(self._config(), self._topic, number, position, stores, self._form)

    def close(self) -> None:
        """Let go of the broker."""
        lister, self._lister = self._lister, None
        if lister is not None:
            lister.close()

    def _note(self, error: KafkaError) -> None:
        from frazil.notification_reader import is_refusal

        if is_refusal(error):
            self._refused = error

    def _first(self, number: int) -> Position:
        from confluent_kafka import TopicPartition
        from frazil.notification_reader import ANSWER_S

        if self._start is None:
            return None
        assert self._lister is not None
        milliseconds = round(self._start.timestamp() * 1000)
        at = TopicPartition(self._topic, number, milliseconds)
        found = self._lister.offsets_for_times([at], timeout=ANSWER_S)[0]
        offset = found.offset
        if offset < 0:  # there is none of that time yet
            _, offset = self._lister.get_watermark_offsets(
                TopicPartition(self._topic, number), timeout=ANSWER_S
            )
        return {"offset": offset}

    def _config(self) -> dict[str, Any]:
        return {
            **resolve_secrets(self._kafka),
            "group.id": "frazil",  # the client wants one; nothing is committed under it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "log_level": 2,
        }


@on_user_line
def read_object_notifications(
    topic: str,
    *,
    servers: str | Sequence[str],
    format: Literal["json", "parquet"],
    schema: SchemaLike,
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto",
    start: Literal["earliest"] | datetime = "earliest",
    keys: Literal["encoded", "plain"] = "encoded",
    metadata: Sequence[FileMetadata] = (),
    s3: S3 | None = None,
    security: Sasl | Tls | None = None,
    client_options: Mapping[str, str | int | float | bool | Secret] | None = None,
    on_bad_row: OnBadRow | None = None,
    name: str | None = None,
) -> Stream:
    """Read objects of an object store, as notifications on a topic say that they were created.

    Notifications are those of Amazon S3, MinIO and what speaks like them; each object is read once,
    also if it is notified again among the next 1,000 of its partition.

    Parameters
    ----------
    topic
        The topic to which the store sends notifications.
    servers
        Addresses of brokers: "host:port", several with commas or as a list.
    format
        How objects are written: "json", one object of JSON a line; or "parquet".
    schema
        What a row holds. Columns of Parquet files have to be there, of the very type.
    compression
        Of JSON; "auto" goes by the ending of the key (.gz, .zst).
    start
        Where a first run begins: "earliest", or a time with a zone.
    keys
        How notifications write keys: "encoded" as in URLs, which S3 and MinIO do, or "plain".
    metadata
        Further columns: "path" and "offset" (of the row in its object), named ``_path``,
        ``_offset``.
    s3
        How to reach the object store.
    security
        `Tls` or `Sasl`, of the broker.
    client_options
        Options of librdkafka that have no name here.
    on_bad_row
        What to do with rows that cannot be decoded, notifications that are none, and objects that
        are gone, overwritten or broken: "fail", "drop" or "divert" (to `Stream.rejected`); default
        "divert" if that is written, else "fail".
    name
        Name of the source, under which its positions are kept; default from the topic.

    Returns
    -------
    Stream
        The schema's columns, then the metadata.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.read_object_notifications(
    ...     "uploads",
    ...     servers="localhost:9092",
    ...     format="json",
    ...     schema={"id": int},
    ...     metadata=["path"],
    ... )
    Stream(append) <- objects:uploads
      id: int64 not null
      _path: string not null
    """
    if not isinstance(topic, str) or not topic:
        raise PlanError(f"topic={topic!r}", 'write fz.read_object_notifications("uploads", ...)')
    _one_of("format", format, ("json", "parquet"))
    _one_of("compression", compression, ("auto", "none", "gzip", "zstd"))
    _one_of("keys", keys, ("encoded", "plain"))
    listed = servers if isinstance(servers, str) else ",".join(servers)
    if not listed:
        raise PlanError("read_object_notifications needs servers", 'write servers="host:9092"')
    if start != "earliest" and (not isinstance(start, datetime) or start.tzinfo is None):
        raise PlanError(
            f"start={start!r} is no place to begin", '"earliest", or a datetime with a zone'
        )
    kafka = {"bootstrap.servers": listed, **client_options_json(client_options or {})}
    kafka |= tls_client_options(security)
    if security is not None:
        kafka |= {_NAMES[key]: value for key, value in security_json(security).items()}
    declared = resolve(schema)
    plain = pa.schema([field.remove_metadata() for field in declared])
    form = ObjectFormat(
        format=format,
        compression=compression,
        encoded_keys=keys == "encoded",
        schema=plain,
        metadata=tuple(metadata),
    )
    source = ObjectNotifications(
        topic,
        kafka,
        {} if s3 is None else s3.to_json(),
        start if isinstance(start, datetime) else None,
        form,
    )
    return _source(
        connector="python",
        name=name or f"objects:{topic}",
        schema=declared,
        metadata=metadata,
        allowed=("path", "offset"),
        options={"class": f"ObjectNotifications of {format}", "metadata": list(metadata)},
        format={"kind": format},
        on_bad_row=on_bad_row,
        objects={"source": source},
        detail=f"{format} objects, as they are notified",
    )
