"""The test services do what the tests built on them rely on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import obstore
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
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
