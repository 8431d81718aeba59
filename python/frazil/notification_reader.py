"""Reads one partition of a topic of notifications, and the objects that they name."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from frazil.errors import AuthError, ConnectError, SourceError
from frazil.object_events import (
    IDENTITY_CHARS,
    BadEvent,
    CreatedObject,
    created_object,
    records_of,
)
from frazil.object_reader import (
    BadObject,
    Lines,
    ObjectReader,
    Rows,
    Stores,
    open_object,
)
from frazil.python_source import PartitionReader, Position
from frazil.raw_rows import raw_rows

if TYPE_CHECKING:
    from frazil.object_notifications import ObjectFormat

REPEATS_WITHIN = 1_000
"""Objects of a partition among which one that is notified again is not read again."""
WAIT_S = 0.5
"""How long a read waits for a notification (seconds)."""
ANSWER_S = 10.0
"""How long a broker may take to answer (seconds)."""

_TRUNCATED = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
_REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


class NotificationReader(PartitionReader):
    """Its position: offset and record of the notification to read next; with `at`, where the object
    of that one is read next; `base`, what was read of objects before it; `seen`, the last objects.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        partition: int,
        position: Mapping[str, Any] | None,
        stores: Stores,
        form: ObjectFormat,
    ) -> None:
        at = position or {}
        self._place = f"{topic}-{partition}"
        self._offset: int | None = at.get("offset")
        self._record: int = at.get("record", 0)
        self._at: int | None = at.get("at")
        self._base: int = at.get("base", 0)
        seen = at.get("seen", "")
        self._seen = deque(
            (seen[i : i + IDENTITY_CHARS] for i in range(0, len(seen), IDENTITY_CHARS)),
            maxlen=REPEATS_WITHIN,
        )
        self._stores = stores
        self._form = form
        self._records: list[Any] = []
        self._message: bytes = b""
        self._object: ObjectReader | None = None
        self._created: CreatedObject | None = None
        self._bad: pa.RecordBatch | None = None
        self._caught_up = False
        self._refused: KafkaError | None = None
        self._consumer = Consumer({**config, "error_cb": self._note})
        start = OFFSET_BEGINNING if self._offset is None else self._offset
        self._consumer.assign([TopicPartition(topic, partition, start)])

    def read(self) -> pa.RecordBatch | list[Any]:
        """Rows of an object, or one bad row; nothing if every notification was read."""
        while True:
            if self._created is None and not self._begin():
                return []
            given, self._bad = self._bad, None
            if given is None:
                given = self._rows()
            if given is not None:
                return given

    @property
    def position(self) -> Position:
        """See the class."""
        if self._offset is None:
            return None
        at = {} if self._at is None else {"at": self._at}
        return {
            "offset": self._offset,
            "record": self._record,
            **at,
            "base": self._base,
            "seen": "".join(self._seen),
        }

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    # -- notifications ---------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Go to the next object that is to be read; False if there is none now."""
        while self._created is None and self._bad is None:
            if self._record >= len(self._records):
                if not self._next_message():
                    return False
                continue
            try:
                record = self._records[self._record]
                created = created_object(record, encoded=self._form.encoded_keys)
            except BadEvent as error:
                self._bad = self._bad_event(f"record {self._record}: {error}")
                self._record += 1
                break
            if self._at is not None:  # it was begun by a reader before
                self._created = created
            elif created is None or created.identity in self._seen:
                self._record += 1
            else:
                self._seen.append(created.identity)
                self._created, self._at = created, 0
        self._leave_message()
        return True

    def _leave_message(self) -> None:
        """Once all is read of a message, the position is the next one."""
        if self._records and self._record >= len(self._records):
            assert self._offset is not None
            self._offset, self._record, self._records = self._offset + 1, 0, []

    def _next_message(self) -> bool:
        self._leave_message()
        message = self._consume()
        if message is None:
            return False
        offset = message.offset()
        begun = self._record or self._at is not None
        if begun and offset != self._offset:
            raise SourceError(
                f"going on within the notification at {self._place}@{self._offset}: it is not there"
                f" any more, the next one is at {offset}",
                "objects that it names were read in part; start anew under another name",
            )
        self._offset = offset
        self._message = message.value() or b""
        try:
            self._records = records_of(self._message)
        except BadEvent as error:
            self._bad = self._bad_event(str(error))
            self._records = []
        if not self._records:
            self._offset += 1
        return True

    def _consume(self) -> Any:
        """The next message; None at the end of the partition."""
        begun = time.monotonic()
        while True:
            message = self._consumer.poll(WAIT_S)
            if message is None:
                if self._refused is not None:
                    raise refused(self._refused, f"reading {self._place}")
                if self._caught_up:
                    return None
                if time.monotonic() - begun > ANSWER_S:
                    raise ConnectError(f"reading {self._place}: no broker has answered")
                continue
            error = message.error()
            if error is None:
                self._caught_up = False
                return message
            if error.code() == KafkaError._PARTITION_EOF:
                self._caught_up = True
                return None
            if error.code() in _TRUNCATED:
                raise SourceError(
                    f"reading {self._place}@{self._offset}: the broker has deleted notifications "
                    "that were not read yet",
                    "their objects are still in the store: read them with fz.read_files, and start "
                    "anew under another name",
                )
            raise _failed(error, f"reading {self._place}")

    def _note(self, error: KafkaError) -> None:
        if is_refusal(error):
            self._refused = error

    def _bad_event(self, reason: str) -> pa.RecordBatch:
        assert self._offset is not None
        return raw_rows(
            [self._message], [self._offset], place=self._place, base=self._base, reason=reason
        )

    # -- objects ---------------------------------------------------------------------------------

    def _rows(self) -> pa.RecordBatch | None:
        """What follows in the object; None at its end."""
        created = self._created
        assert created is not None
        try:
            if self._object is None:
                form = self._form
                self._object = open_object(
                    self._stores, created, self._at or 0, form.format, form.compression, form.schema
                )
            given = self._object.read()
        except BadObject as error:
            at, base = self._at or 0, self._base
            self._end_object(at)
            return raw_rows([b""], [at], place=created.url, base=base, reason=str(error))
        if given is None:
            self._end_object(self._object.at)
            return None
        base, self._at = self._base, self._object.at
        if self._object.ended:
            self._end_object(self._at)
        if isinstance(given, Lines):
            return self._bytes_of(created, given, base) if given.rows else None
        return self._columns_of(created, given)

    def _end_object(self, at: int) -> None:
        self._base += at
        self._object, self._created, self._at = None, None, None
        self._record += 1
        self._leave_message()

    def _bytes_of(self, created: CreatedObject, lines: Lines, base: int) -> pa.RecordBatch:
        metadata = {} if lines.reason else self._metadata(created, lines.at)
        return raw_rows(
            lines.rows,
            lines.at,
            place=created.url,
            base=base,
            reason=lines.reason,
            metadata=metadata,
        )

    def _columns_of(self, created: CreatedObject, rows: Rows) -> pa.RecordBatch:
        batch = rows.columns
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns |= self._metadata(created, range(rows.first, rows.first + batch.num_rows))
        return pa.RecordBatch.from_pydict(columns)

    def _metadata(self, created: CreatedObject, at: Any) -> dict[str, pa.Array]:
        made = {}
        if "path" in self._form.metadata:
            made["_path"] = pa.array([created.url] * len(at), pa.string())
        if "offset" in self._form.metadata:
            made["_offset"] = pa.array(at, pa.int64())
        return made


def is_refusal(error: KafkaError) -> bool:
    """Whether the broker does not accept who we are."""
    return error.code() in _REFUSED


def refused(error: KafkaError, doing: str) -> AuthError:
    """The error that a refusal is."""
    return AuthError(f"{doing}: {error.str()}", "correct security=, or what the broker allows")


def _failed(error: KafkaError, doing: str) -> Exception:
    if is_refusal(error):
        return refused(error, doing)
    return ConnectError(f"{doing}: {error.str()}")


def failed(error: KafkaException, doing: str) -> Exception:
    """What the client has raised, as one of ours."""
    return _failed(error.args[0], doing)
