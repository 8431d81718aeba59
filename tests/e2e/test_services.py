"""The test services do what the tests built on them rely on."""

from __future__ import annotations

import datetime
import decimal
import math
import threading
import uuid
from typing import TYPE_CHECKING, Any

import obstore
import pyarrow as pa
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store
from pyiceberg.catalog import Catalog, load_catalog

from tests.services.process import ServiceError
from tests.services.rows import arrow_rows, sorted_lines

if TYPE_CHECKING:
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.kafka import Kafka
    from tests.services.rest_catalog import RestCatalog
    from tests.services.s3 import S3

pytestmark = pytest.mark.service


# -- Kafka


def test_kafka_gives_back_what_was_produced(kafka: Kafka) -> None:
    topic = kafka.create_topic(partitions=2)
    kafka.produce(topic, [b"a", b"b"], partition=0)
    kafka.produce(
        topic,
        [{"value": None, "key": b"k", "timestamp": 1_700_000_000_000, "headers": [("h", b"1")]}],
        partition=1,
    )
    first, second, third = kafka.read(topic)
    assert [first.value(), second.value(), third.value()] == [b"a", b"b", None]
    assert (third.key(), third.timestamp()[1]) == (b"k", 1_700_000_000_000)
    assert third.headers() == [("h", b"1")]
    assert kafka.offsets(topic) == {0: (0, 2), 1: (0, 1)}


def test_kafka_hides_aborted_transactions(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    producer = kafka.producer(transactional_id=f"{topic}-writer")
    producer.init_transactions(30)
    for value, outcome in [
        (b"kept", producer.commit_transaction),
        (b"gone", producer.abort_transaction),
    ]:
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(30)
        outcome(30)
    assert [message.value() for message in kafka.read(topic)] == [b"kept"]
    everything = kafka.read(topic, isolation="read_uncommitted")
    assert [message.value() for message in everything] == [b"kept", b"gone"]
    assert kafka.offsets(topic) == {0: (0, 4)}  # two messages, two transaction markers


def test_kafka_topics_grow_and_lose_their_head(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, [b"%d" % number for number in range(10)])
    kafka.add_partitions(topic, 3)
    kafka.delete_records(topic, {0: 4})
    assert kafka.offsets(topic) == {0: (4, 10), 1: (0, 0), 2: (0, 0)}
    assert [message.offset() for message in kafka.read(topic)] == list(range(4, 10))


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kafka_keeps_messages_when_it_ends(kafka: Kafka, end: str) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, [b"before"])
    address = kafka.bootstrap
    getattr(kafka, end)()
    assert not kafka.running
    kafka.start()
    kafka.produce(topic, [b"after"])
    assert kafka.bootstrap == address
    assert [message.value() for message in kafka.read(topic)] == [b"before", b"after"]


def test_kafka_does_not_answer_while_paused(kafka: Kafka) -> None:
    kafka.pause()
    with pytest.raises(KafkaException, match=r"_TRANSPORT|timed out|_TIMED_OUT"):
        AdminClient({**kafka.plain, "log_level": 0}).list_topics(timeout=0.5)
    kafka.resume()
    assert AdminClient(kafka.plain).list_topics(timeout=30).brokers


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_kafka_checks_passwords(kafka: Kafka, mechanism: str) -> None:
    good = kafka.sasl(mechanism)
    assert AdminClient(good).list_topics(timeout=30).brokers
    with pytest.raises(KafkaException):
        AdminClient({**good, "sasl.password": "wrong", "log_level": 0}).list_topics(timeout=2)


def test_kafka_shows_a_certificate_of_its_authority(kafka: Kafka) -> None:
    assert AdminClient(kafka.tls).list_topics(timeout=30).brokers
    stranger = {**kafka.tls, "ssl.ca.location": str(kafka.certificates.other_ca), "log_level": 0}
    with pytest.raises(KafkaException):
        AdminClient(stranger).list_topics(timeout=2)


# -- S3


def test_s3_lets_one_of_many_writers_create(s3: S3) -> None:
    store = S3Store(s3.create_bucket("races"), **s3.obstore_options)
    writers = 16
    together = threading.Barrier(writers)
    won: list[int] = []
    lost: list[int] = []

    def write(number: int) -> None:
        together.wait()
        try:
            obstore.put(store, "slot", b"%d" % number, mode="create")
        except AlreadyExistsError:
            lost.append(number)
        else:
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, writers - 1)
    assert bytes(obstore.get(store, "slot").bytes()) == b"%d" % won[0]


def test_s3_keeps_objects_when_it_is_killed(s3: S3) -> None:
    if s3.kind == "moto":
        pytest.skip("moto keeps objects in memory")
    store = S3Store(s3.create_bucket("durable"), **s3.obstore_options)
    obstore.put(store, "a/b", b"kept")
    s3.kill()
    s3.start()
    assert bytes(obstore.get(store, "a/b").bytes()) == b"kept"


def test_s3_refuses_a_wrong_signature(s3: S3) -> None:
    if s3.kind == "moto":
        pytest.skip("moto checks no signatures")
    bucket = s3.create_bucket("signed")
    options = {**s3.obstore_options, "secret_access_key": "wrong"}
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        obstore.put(S3Store(bucket, **options), "x", b"")


# -- catalog and readers

UUID = uuid.UUID("6f1bd6a4-5a8c-4f0e-9d0f-0a1b2c3d4e5f")
AT = datetime.datetime(2026, 1, 31, 12, 30, 0, 1, tzinfo=datetime.UTC)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        ("small", pa.int32()),
        ("single", pa.float32()),
        ("double", pa.float64()),
        ("flag", pa.bool_()),
        ("price", pa.decimal128(12, 2)),
        ("day", pa.date32()),
        ("clock", pa.time64("us")),
        ("local", pa.timestamp("us")),
        ("instant", pa.timestamp("us", tz="UTC")),
        ("text", pa.string()),
        ("raw", pa.binary()),
        ("four", pa.binary(4)),
        ("key", pa.uuid()),
        ("point", pa.struct([("x", pa.int32()), ("tags", pa.list_(pa.string()))])),
        ("counts", pa.map_(pa.string(), pa.int64())),
    ]
)
FULL: dict[str, Any] = {
    "id": 1,
    "small": -7,
    "single": 0.1,
    "double": math.inf,
    "flag": True,
    "price": decimal.Decimal("-1.50"),
    "day": AT.date(),
    "clock": datetime.time(12, 30),
    "local": AT.replace(tzinfo=None),
    "instant": AT,
    "text": "naïve \N{SNOWMAN}\n",
    "raw": b"\x00\xff",
    "four": b"abcd",
    "key": UUID.bytes,
    "point": {"x": 3, "tags": ["a", None]},
    "counts": [("a", 1)],
}
EMPTY: dict[str, Any] = {**dict.fromkeys(SCHEMA.names), "id": 2, "double": math.nan}
FULL_READ = {
    "id": 1,
    "small": -7,
    "single": 0.10000000149011612,  # the 32-bit number nearest to 0.1
    "double": math.inf,
    "flag": True,
    "price": "-1.50",
    "day": "2026-01-31",
    "clock": "12:30:00.000000",
    "local": "2026-01-31T12:30:00.000001",
    "instant": "2026-01-31T12:30:00.000001+00:00",
    "text": "naïve \N{SNOWMAN}\n",
    "raw": "00ff",
    "four": "61626364",
    "key": str(UUID),
    "point": {"x": 3, "tags": ["a", None]},
    "counts": [["a", 1]],
}


def append_two(catalog: Catalog, name: str) -> Any:
    catalog.create_namespace_if_not_exists("checks")
    table = catalog.create_table(f"checks.{name}", schema=SCHEMA)
    for row in (FULL, EMPTY):
        table.append(pa.Table.from_pylist([row], schema=SCHEMA))
    return table


@pytest.mark.slow
def test_readers_agree_on_a_table_in_s3(
    rest_catalog: RestCatalog, java_reader: JavaReader, duckdb_reader: DuckdbReader, s3: S3
) -> None:
    with load_catalog("rest", **rest_catalog.properties) as catalog:
        table = append_two(catalog, "in_s3")
        location = table.metadata_location
        first = table.history()[0].snapshot_id
    assert location.startswith("s3://warehouse/")
    want = sorted_lines([FULL_READ, EMPTY])
    assert sorted_lines(java_reader.read(location, s3=s3)) == want
    assert sorted_lines(java_reader.read_rest(rest_catalog.uri, "checks.in_s3", s3=s3)) == want
    assert sorted_lines(arrow_rows(duckdb_reader.read_iceberg(location, s3=s3))) == want
    assert java_reader.read(location, s3=s3, snapshot=first) == [FULL_READ]
    assert arrow_rows(duckdb_reader.read_iceberg(location, s3=s3, snapshot=first)) == [FULL_READ]


def test_readers_agree_on_a_table_in_local_files(
    local_rest_catalog: RestCatalog, java_reader: JavaReader, duckdb_reader: DuckdbReader
) -> None:
    with load_catalog("rest", **local_rest_catalog.properties) as catalog:
        location = append_two(catalog, "in_files").metadata_location
    assert location.startswith("file:/")
    want = sorted_lines([FULL_READ, EMPTY])
    assert sorted_lines(java_reader.read(location)) == want
    assert sorted_lines(java_reader.read_rest(local_rest_catalog.uri, "checks.in_files")) == want
    assert sorted_lines(arrow_rows(duckdb_reader.read_iceberg(location))) == want


def test_java_reader_goes_on_after_an_error(
    local_rest_catalog: RestCatalog, java_reader: JavaReader
) -> None:
    with load_catalog("rest", **local_rest_catalog.properties) as catalog:
        location = append_two(catalog, "after_error").metadata_location
    with pytest.raises(ServiceError, match="nowhere"):
        java_reader.read("file:///nowhere/v1.metadata.json")
    assert len(java_reader.read(location)) == 2


def test_rest_catalog_keeps_tables_when_it_is_killed(local_rest_catalog: RestCatalog) -> None:
    with load_catalog("rest", **local_rest_catalog.properties) as catalog:
        append_two(catalog, "kept")
        local_rest_catalog.kill()
        local_rest_catalog.start()
        assert catalog.load_table("checks.kept").scan().to_arrow().num_rows == 2
