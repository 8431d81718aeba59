"""Objects that a store tells of by Kafka, against a real broker and a real store."""

from __future__ import annotations

import gzip
import io
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import notification_reader, object_reader
from frazil.errors import PlanChanged
from frazil.testing import source_conformance

from tests.services.s3 import S3

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service

FAST = {"fetch.wait.max.ms": 10}


@dataclass
class Uploads:
    """A bucket, and the topic on which it tells of its objects."""

    kafka: Kafka
    s3: S3
    bucket: str
    topic: str
    etags: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, data: bytes | list[Any]) -> dict[str, Any]:
        """Put an object; what a store says about it."""
        body = data if isinstance(data, bytes) else lines(data)
        client = self.s3.client()
        etag = client.put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"].strip('"')
        client.close()
        return self.created(key, eTag=etag, size=len(body))

    def created(self, key: str, **members: Any) -> dict[str, Any]:
        """What a store says when an object was created."""
        described = {"key": quote_plus(key), "sequencer": "0055AED6DCD90281E5", **members}
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": self.bucket}, "object": described},
        }

    def remove(self, key: str) -> None:
        client = self.s3.client()
        client.delete_object(Bucket=self.bucket, Key=key)
        client.close()

    def notify(self, *records: Any, partition: int = 0) -> None:
        """Tell of records, in one message."""
        message = json.dumps({"Records": list(records)}).encode()
        self.kafka.produce(self.topic, [message], partition=partition)

    def read(self, **options: Any) -> fz.Stream:
        given: dict[str, Any] = {
            "servers": self.kafka.bootstrap,
            "format": "json",
            "schema": {"id": int},
            "s3": self.access,
            "client_options": FAST,
        }
        return fz.read_object_notifications(self.topic, **{**given, **options})

    @property
    def access(self) -> fz.S3:
        return fz.S3(
            endpoint=self.s3.endpoint,
            region=self.s3.region,
            access_key=fz.secret("UPLOADS_KEY"),
            secret_key=fz.secret("UPLOADS_SECRET"),
        )


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines(ids: list[Any]) -> bytes:
    return b"".join(b'{"id": %d}\n' % each for each in ids)


@pytest.fixture
def uploads(kafka: Kafka, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setenv("UPLOADS_KEY", s3.access_key)
    monkeypatch.setenv("UPLOADS_SECRET", s3.secret_key)
    topic = kafka.create_topic(partitions=2)
    return Uploads(kafka, s3, s3.create_bucket(f"uploads-{topic}"), topic)


def run(stream: fz.Stream, folder: Path, name: str = "uploads") -> tuple[list[Any], list[Any]]:
    """Rows, and those that are rejected: place, position and reason."""
    good, bad = stream.write_memory(), stream.rejected.write_memory(name="bad")
    pipeline = fz.Pipeline(name, good, bad, checkpoint=str(folder), checkpoint_every="50ms")
    pipeline.run(until="now", quiet=True)
    rejected = bad.table().select(["partition", "position", "reason"]).to_pylist()
    return good.table().to_pylist(), [tuple(row.values()) for row in rejected]


def test_each_object_is_read_once(uploads: Uploads, tmp_path: Path) -> None:
    keys = ["plain.jsonl", "a b+c/ü%20#1&=.jsonl", "day=1/x.jsonl"]
    events = [uploads.put(key, lines([n * 10, n * 10 + 1])) for n, key in enumerate(keys)]
    packed = uploads.put("packed.jsonl.gz", gzip.compress(lines([30])) + gzip.compress(lines([31])))
    empty = [uploads.put("folder/", b""), uploads.put("empty", b"")]
    no_end = uploads.put("no end", b'\n{"id": 40}\r\n\n{"id": 41}')
    removed = {**events[0], "eventName": "ObjectRemoved:Delete"}
    minio = {**events[2], "eventName": "s3:ObjectCreated:CompleteMultipartUpload"}
    uploads.notify(events[0], removed, events[1], events[0])
    uploads.notify(events[1])
    uploads.kafka.produce(
        uploads.topic, [b'{"Service":"Amazon S3","Event":"s3:TestEvent"}'], partition=0
    )
    uploads.notify(minio, *empty, no_end, packed, partition=1)
    uploads.notify(events[2], partition=1)
    stream = uploads.read(metadata=["path", "offset"])
    rows, bad = run(stream, tmp_path)
    assert bad == []
    assert sorted(row["id"] for row in rows) == [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]
    by_id = {row["id"]: (row["_path"], row["_offset"]) for row in rows}
    assert by_id[11] == (f"s3://{uploads.bucket}/{keys[1]}", 11)
    assert by_id[41] == (f"s3://{uploads.bucket}/no end", 14)
    # Told again to another process: it is known.
    uploads.notify(events[1])
    uploads.notify(uploads.put("more", [50]))
    rows, bad = run(uploads.read(metadata=["path", "offset"]), tmp_path)
    assert ([row["id"] for row in rows], bad) == ([50], [])


def test_what_cannot_be_read_is_rejected_with_its_place(uploads: Uploads, tmp_path: Path) -> None:
    gone, changed = uploads.put("gone", [1]), uploads.put("changed", [2])
    rows = uploads.put("rows", b'{"id": 3}\n{"id": "x"}\n{"id": 4}\n')
    broken = uploads.put("broken.gz", b"no gzip")
    uploads.remove("gone")
    again = uploads.put("changed", [5])
    uploads.kafka.produce(uploads.topic, [b"{", b'{"Records": 1}', b"\xff"], partition=0)
    nameless = uploads.created("x", eTag="1")
    del nameless["s3"]["bucket"]
    uploads.notify(7, nameless, gone, uploads.created("a//b", eTag="1"))
    uploads.notify(changed, uploads.created("x"), rows, broken, again)
    good, bad = run(uploads.read(), tmp_path)
    assert [row["id"] for row in good] == [3, 4, 5]
    partition, bucket = f"{uploads.topic}-0", f"s3://{uploads.bucket}"
    places = [(place, position) for place, position, _ in bad]
    assert places == [
        (partition, 0),
        (partition, 1),
        (partition, 2),
        (partition, 3),
        (partition, 3),
        (f"{bucket}/gone", 0),
        (f"{bucket}/a//b", 0),
        (f"{bucket}/changed", 0),
        (partition, 4),
        (f"{bucket}/rows", 10),
        (f"{bucket}/broken.gz", 0),
    ]
    reasons = [reason for _, _, reason in bad]
    assert "this is no JSON" in reasons[0]
    assert 'no list "Records"' in reasons[1]
    assert "record 0" in reasons[3]
    assert (
        reasons[4]
        == 'record 1: a record of a notification is expected, and there is no object "bucket"'
    )
    assert reasons[5] == "the object is not there any more"
    assert "cannot be asked for" in reasons[6]
    assert reasons[7] == "the object was overwritten before it was read"
    assert "neither eTag nor versionId" in reasons[8]
    assert "the object is broken" in reasons[10]


def test_by_default_an_object_that_is_gone_ends_the_run(uploads: Uploads, tmp_path: Path) -> None:
    event = uploads.put("gone", [1])
    uploads.remove("gone")
    uploads.notify(event)
    sink = uploads.read().write_memory()
    with pytest.raises(fz.DecodeError, match=r"gone@0: the object is not there any more"):
        fz.Pipeline("ends", sink, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    dropped = uploads.read(on_bad_row="drop").write_memory()
    report = fz.Pipeline("ends", dropped, checkpoint=str(tmp_path)).run(until="now", quiet=True)
    assert report.sources[f"objects:{uploads.topic}"].dropped == 1


def parquet(ids: range, **options: Any) -> bytes:
    file = io.BytesIO()
    texts = pa.array([f"text {n}" for n in ids])
    table = pa.table({"id": pa.array(ids, pa.int64()), "other": texts, "text": texts})
    pq.write_table(table, file, **options)
    return file.getvalue()


def test_parquet(uploads: Uploads, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(object_reader, "ROWS_MAX", 7)
    whole = parquet(range(40), row_group_size=15)
    uploads.notify(uploads.put("a", whole), uploads.put("b", parquet(range(40, 43))))
    uploads.notify(uploads.put("cut", whole[:-9]), uploads.put("text", b"text"))
    file = io.BytesIO()
    pq.write_table(pa.table({"id": ["1"], "text": ["x"]}), file)
    uploads.notify(uploads.put("other", file.getvalue()), uploads.put("empty", b""))
    schema = {"id": int, "text": str | None}
    stream = uploads.read(format="parquet", schema=schema, metadata=["path", "offset"])
    rows, bad = run(stream, tmp_path)
    assert [row["id"] for row in rows] == list(range(43))
    assert [row["_offset"] for row in rows] == [*range(40), 0, 1, 2]
    assert {row["text"] for row in rows} == {f"text {n}" for n in range(43)}
    assert [place.rpartition("/")[2] for place, _, _ in bad] == ["cut", "text", "other", "empty"]
    assert "the object is broken" in bad[0][2]
    assert bad[3][2] == "the object is empty"
    assert bad[2][2].startswith('column "id" is string, and declared is int64')


RAW = pa.schema([("raw", pa.binary()), ("at", pa.int64()), ("reason", pa.string())])


@pytest.mark.parametrize("format", ["json", "parquet"])
def test_it_can_be_read_again_from_every_position(
    uploads: Uploads, format: str, monkeypatch: Any
) -> None:
    """Also within objects, whatever is read of them at once."""
    monkeypatch.setattr(object_reader, "ROWS_MAX", 3)
    monkeypatch.setattr(notification_reader, "WAIT_S", 0.02)
    monkeypatch.setattr(notification_reader, "REPEATS_WITHIN", 3)
    rng = random.Random(5)
    events, count = [], 0
    for number in range(6):
        ids = range(count, count + rng.randint(0, 9))
        count = ids.stop
        if format == "parquet":
            body = parquet(ids, row_group_size=4)
        else:
            body = lines(list(ids))
            body = gzip.compress(body) if number % 2 else body
        event = uploads.put(f"{number}.gz" if number % 2 else str(number), body)
        events += [event] if number % 3 else [event, event]
    cut = rng.randint(1, 5)
    uploads.notify(*events[:cut])
    uploads.notify(*events[cut:], partition=1)

    def make() -> Any:
        monkeypatch.setattr(object_reader, "CHUNK_BYTES", rng.choice([5, 11, 60]))
        monkeypatch.setattr(object_reader, "REQUEST_BYTES", rng.choice([7, 50]))
        options = {"format": format, "schema": {"id": int}}
        return uploads.read(**options)._port.node.objects["source"]

    schema = RAW if format == "json" else {"id": int}
    assert source_conformance(make, schema=schema) == count


def test_repeats_are_known_within_a_bound(
    uploads: Uploads, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(notification_reader, "REPEATS_WITHIN", 2)
    events = [uploads.put(str(n), [n]) for n in range(4)]
    read = []
    for numbers in ([0, 1, 0], [0, 2, 1], [0, 3]):
        uploads.notify(*(events[n] for n in numbers))
        rows, _ = run(uploads.read(), tmp_path)
        read.append([row["id"] for row in rows])
    assert read == [[0, 1], [2], [0, 3]]


def test_a_line_that_is_too_long(uploads: Uploads, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(object_reader, "LINE_BYTES_MAX", 40)
    monkeypatch.setattr(object_reader, "CHUNK_BYTES", 16)
    long = b'{"id": 2, "more": "' + b"x" * 90 + b'"}\n'
    uploads.notify(uploads.put("a", lines([1]) + long + lines([3]) + long[:-1]))
    rows, bad = run(uploads.read(), tmp_path)
    assert [row["id"] for row in rows] == [1, 3]
    assert [position for _, position, _ in bad] == [10, 10 + len(long) + 10]
    assert {reason for _, _, reason in bad} == {"line longer than 40 bytes"}


def test_a_real_store_tells_of_its_objects(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.create_topic()
    s3 = S3(tmp_path / "s3", notify=(kafka.bootstrap, topic))
    if s3.kind != "versitygw":
        pytest.fail("a store that tells of its objects is needed: there is no Go to build it")
    s3.start()
    monkeypatch.setenv("UPLOADS_KEY", s3.access_key)
    monkeypatch.setenv("UPLOADS_SECRET", s3.secret_key)
    client = s3.client()
    told = Uploads(kafka, s3, s3.create_bucket("told"), topic)
    told.put("a b+c/ü%20#1&=.jsonl", [1])
    told.put("changed", [2])
    told.put("changed", [3])
    told.put("gone", [4])
    told.remove("gone")
    wait_for(lambda: len(kafka.read(topic)) >= 6)
    rows, bad = run(told.read(keys="plain"), tmp_path)
    assert [row["id"] for row in rows] == [1, 3]
    assert [place for place, _, _ in bad] == ["s3://told/changed", "s3://told/gone"]
    # Of a bucket that keeps versions, each as it was; this store does not tell of them by itself.
    kept = Uploads(kafka, s3, s3.create_bucket("kept"), kafka.create_topic())
    client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    for number in (5, 6):
        put = client.put_object(Bucket="kept", Key="changed", Body=lines([number]))
        kept.notify(kept.created("changed", versionId=put["VersionId"]))
    client.delete_object(Bucket="kept", Key="changed")
    client.close()
    rows, bad = run(kept.read(), tmp_path, "kept")
    s3.stop()
    assert ([row["id"] for row in rows], bad) == ([5, 6], [])


def test_where_it_begins(uploads: Uploads, tmp_path: Path) -> None:
    old = {"Records": [uploads.put("old", [1])]}
    new = {"Records": [uploads.put("new", [2])]}
    start = datetime(2026, 5, 1, tzinfo=UTC)
    before, behind = (round((start + timedelta(days=d)).timestamp() * 1000) for d in (-1, 1))
    messages = [
        {"value": json.dumps(old).encode(), "timestamp": before},
        {"value": json.dumps(new).encode(), "timestamp": behind},
    ]
    uploads.kafka.produce(uploads.topic, messages, partition=0)
    rows, _ = run(uploads.read(start=start), tmp_path)
    assert [row["id"] for row in rows] == [2]
    with pytest.raises(fz.PlanError, match="no place to begin"):
        uploads.read(start=datetime(2026, 5, 1))


def test_notifications_that_the_broker_has_deleted(uploads: Uploads, tmp_path: Path) -> None:
    uploads.notify(uploads.put("a", [1]))
    run(uploads.read(), tmp_path)
    for number in range(2, 5):
        uploads.notify(uploads.put(str(number), [number]))
    uploads.kafka.delete_records(uploads.topic, {0: 3})
    with pytest.raises(fz.SourceError, match="the broker has deleted notifications"):
        run(uploads.read(), tmp_path)


def test_what_is_not_there_or_not_allowed(
    uploads: Uploads, tmp_path: Path, monkeypatch: Any
) -> None:
    uploads.notify(uploads.put("a", [1]))
    with pytest.raises(fz.SourceError, match="asking for the partitions of nothing"):
        run(
            fz.read_object_notifications(
                "nothing", servers=uploads.kafka.bootstrap, format="json", schema={"id": int}
            ),
            tmp_path,
        )
    monkeypatch.setenv("UPLOADS_SECRET", "wrong")
    with pytest.raises(fz.SourceError, match="the store refuses") as caught:
        run(uploads.read(), tmp_path, "refused")
    assert "wrong" not in str(caught.value)


def test_brokers_that_ask_who_we_are(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = uploads.kafka
    uploads.notify(uploads.put("a", [1]))
    monkeypatch.setenv("KAFKA_PASSWORD", kafka.password)
    sasl = fz.Sasl(
        username=kafka.user, password=fz.secret("KAFKA_PASSWORD"), mechanism="SCRAM-SHA-256"
    )
    tls = fz.Tls(ca=str(kafka.certificates.ca))
    for number, (security, settings) in enumerate([(sasl, kafka.sasl()), (tls, kafka.tls)]):
        stream = uploads.read(servers=settings["bootstrap.servers"], security=security)
        rows, _ = run(stream, tmp_path, f"secure-{number}")
        assert [row["id"] for row in rows] == [1]
    monkeypatch.setenv("KAFKA_PASSWORD", "wrong")
    monkeypatch.setattr(notification_reader, "ANSWER_S", 1.0)
    stream = uploads.read(servers=kafka.sasl()["bootstrap.servers"], security=sasl)
    with pytest.raises(fz.FrazilError, match=r"(?i)authentication"):
        run(stream, tmp_path, "refused")


def test_another_format_does_not_fit_the_checkpoint(uploads: Uploads, tmp_path: Path) -> None:
    run(uploads.read(), tmp_path)
    with pytest.raises(PlanChanged, match="of json"):
        run(uploads.read(format="parquet"), tmp_path)


def test_the_store_is_away_for_a_while(uploads: Uploads, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(object_reader, "TRIES", 0)
    uploads.notify(uploads.put("a", [1, 2]))
    uploads.s3.stop()
    opened = object_reader.open_object
    failures: list[str] = []

    def tried(*args: Any) -> Any:
        try:
            return opened(*args)
        except fz.ConnectError as error:
            failures.append(str(error))
            uploads.s3.start()
            raise

    monkeypatch.setattr(notification_reader, "open_object", tried)
    rows, bad = run(uploads.read(), tmp_path)
    assert ([row["id"] for row in rows], bad, len(failures)) == ([1, 2], [], 1)
