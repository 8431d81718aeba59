"""The Kafka source and its enumerator against a real broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.kafka_driver import KafkaDriver, KafkaError
from tests.e2e.waiting import PATIENCE_S

if TYPE_CHECKING:
    from tests.services.kafka import Kafka

pytestmark = pytest.mark.service


def options(kafka: Kafka, topic: str, **more: Any) -> dict[str, Any]:
    return {"servers": kafka.bootstrap, "topics": [topic], **more}


def at(topic: str, offset: int, *, partition: int = 0, end: int | None = None) -> dict[str, str]:
    """A partition to read from an offset."""
    return {
        "name": f"{topic}-{partition}",
        "start": json.dumps({"v": 1, "offset": offset}),
        "end": "" if end is None else json.dumps({"v": 1, "offset": end}),
    }


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def transaction(kafka: Kafka, topic: str, values: list[bytes], *, commit: bool) -> None:
    producer = kafka.producer(transactional_id=f"{topic}-writer")
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


# -- reading


@pytest.mark.parametrize("codec", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_reads_every_row_of_every_partition(kafka: Kafka, codec: str) -> None:
    topic = kafka.create_topic(partitions=3, config={"compression.type": codec})
    for partition in range(3):
        kafka.produce(topic, numbers(2_000), partition=partition)
    with KafkaDriver(options(kafka, topic, prefetch_bytes=100_000)) as driver:
        result = driver.read_all()
        for partition in range(3):
            name = f"{topic}-{partition}"
            mine = [(offset, value) for place, offset, value in result.rows if place == name]
            assert mine == [(number, str(number)) for number in range(2_000)]
            assert driver.positions()[name] == (2_000, 0)


def test_reads_an_empty_topic_to_its_end(kafka: Kafka) -> None:
    with KafkaDriver(options(kafka, kafka.create_topic(partitions=2))) as driver:
        assert driver.read_all().rows == []


def test_reads_a_record_larger_than_a_fetch(kafka: Kafka) -> None:
    topic = kafka.create_topic(config={"max.message.bytes": "20000000"})
    large = b"x" * 3_000_000
    producer_settings = {"message_max_bytes": 20_000_000}
    producer = kafka.producer(**producer_settings)
    over = b"y" * (16 * 1024 * 1024 + 1)
    for value in [b"a", large, over, b"z"]:
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    with KafkaDriver(options(kafka, topic)) as driver:
        result = driver.read_all()
        assert [len(value) for _, _, value in result.rows] == [1, 3_000_000, 1]
        assert result.rejected == [
            [f"{topic}-0", 2, "expected at most 16777216 bytes, got 16777217", len(over)]
        ]


def test_transactions_leave_gaps_and_the_end_is_reached_behind_them(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    transaction(kafka, topic, numbers(3), commit=True)
    transaction(kafka, topic, numbers(3, 100), commit=False)
    transaction(kafka, topic, numbers(2, 3), commit=True)
    transaction(kafka, topic, numbers(5, 200), commit=False)
    assert kafka.offsets(topic) == {0: (0, 17)}
    with KafkaDriver(options(kafka, topic)) as driver:
        result = driver.read_all()
        assert [value for _, _, value in result.rows] == ["0", "1", "2", "3", "4"]
        assert result.offsets == [0, 1, 2, 8, 9]
        assert driver.positions() == {f"{topic}-0": (17, 0)}
        # Starting inside the last gap is nothing special.
        driver.open([at(topic, 12, end=17)])
        assert driver.read().end
        # Without an end the position moves behind the gap too, and the lag is none.
        driver.open([at(topic, 0)])
        assert len(driver.read(5).rows) == 5
        driver.read(1, timeout_ms=1_500)
        assert driver.positions() == {f"{topic}-0": (17, 0)}
    with KafkaDriver(options(kafka, topic, isolation="read_uncommitted")) as driver:
        assert len(driver.read_all().rows) == 13


def test_an_open_transaction_is_the_end_for_now(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    producer = kafka.producer(transactional_id=f"{topic}-open")
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"open")
    producer.flush(30)
    kafka.produce(topic, [b"behind"])
    with KafkaDriver(options(kafka, topic)) as driver:
        assert driver.read_all().offsets == [0, 1, 2]
        driver.open([at(topic, 0)])
        assert driver.read(3).offsets == [0, 1, 2]
        producer.commit_transaction(30)
        assert driver.read(2).offsets == [3, 4]


def test_compacted_tail_is_the_end(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, [{"value": b"a", "key": b"k"}, {"value": None, "key": b"k"}])
    with KafkaDriver(options(kafka, topic, tombstones="skip")) as driver:
        assert driver.read_all().offsets == [0]
        assert driver.positions() == {f"{topic}-0": (2, 0)}
    with KafkaDriver(options(kafka, topic)) as driver:
        [[place, offset, reason, _]] = driver.read_all().rejected
        assert (place, offset) == (f"{topic}-0", 1)
        assert "tombstone" in reason


# -- starts and new partitions


def _once_there(ask: Callable[[], int]) -> int:
    """The answer of a group's coordinator, which on a new broker is only coming up."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise


def test_starts(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, [{"value": b"x", "timestamp": 1_000 + 10 * n} for n in range(10)])

    def start(value: Any, **more: Any) -> int:
        with KafkaDriver(options(kafka, topic, start=value, **more)) as driver:
            [partition] = driver.enumerate()
            offset: int = json.loads(partition["start"])["offset"]
            return offset

    assert start("earliest") == 0
    assert start("latest") == 10
    assert start({"timestamp_ms": 1_035}) == 4
    assert start({"timestamp_ms": 5_000}) == 10
    assert start({"offsets": {f"{topic}-0": 7}}) == 7
    assert _once_there(lambda: start("group", group=f"{topic}-new")) == 0
    kafka.delete_records(topic, {0: 3})
    assert start("earliest") == 3
    with pytest.raises(KafkaError, match="start gives offset 2, the topic has 3 to 10"):
        start({"offsets": {f"{topic}-0": 2}})


def test_new_partitions_begin_at_their_first_row(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(5))
    with KafkaDriver(options(kafka, topic, start="latest")) as driver:
        [first] = driver.enumerate()
        driver.open([first])
        kafka.add_partitions(topic, 3)
        kafka.produce(topic, numbers(2), partition=2)
        again, *new = driver.discover()
        assert again == first
        assert [json.loads(partition["start"])["offset"] for partition in new] == [0, 0]
        driver.call("assign", partitions=new)
        assert driver.read(2).rows == [(f"{topic}-2", 0, "0"), (f"{topic}-2", 1, "1")]
    # The same when they came while nothing ran, if the checkpoint's partitions are told.
    with KafkaDriver(options(kafka, topic, start="latest")) as driver:
        found = driver.enumerate(known=[f"{topic}-0"])
        assert [json.loads(partition["start"])["offset"] for partition in found[1:]] == [0, 0]


def test_group_offsets_follow_committed_only(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(10))
    group = f"{topic}-lag"

    with KafkaDriver(options(kafka, topic, group=group)) as driver:
        assert len(driver.read_all().rows) == 10
        assert kafka.group_offset(group, topic) is None
        for offset in [4, 5, 6]:
            position = json.dumps({"v": 1, "offset": offset})
            driver.call("committed", positions=[{"name": f"{topic}-0", "position": position}])
        driver.call("close")
        assert kafka.group_offset(group, topic) == 6
    with KafkaDriver(options(kafka, topic, group=group, start="group")) as driver:
        assert driver.read_all().offsets == [6, 7, 8, 9]


# -- rows that are gone


def test_retention_overtook_us(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(10))
    kafka.delete_records(topic, {0: 6})
    with KafkaDriver(options(kafka, topic)) as driver:
        driver.open([at(topic, 2)])
        with pytest.raises(
            KafkaError, match=rf"reading {topic}-0@2: the rows from 2 to 5"
        ) as error:
            driver.read(1)
        assert error.value.kind == "user"
        assert not error.value.retryable
    for policy, expected in [("earliest", [6, 7, 8, 9]), ("latest", [])]:
        with KafkaDriver(options(kafka, topic, on_truncated=policy)) as driver:
            driver.open([at(topic, 2, end=10)])
            result = driver.read()
            assert result.offsets == expected
            assert "the rows from 2 to 5 are no longer in the topic" in result.condition


def test_retention_overtakes_a_reader(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    for _ in range(20):  # a fetch gives whole batches of the producer
        kafka.produce(topic, [b"x" * 1_000] * 50)
    with KafkaDriver(options(kafka, topic, prefetch_bytes=65_536)) as driver:
        driver.open([at(topic, 0)])
        first = driver.read(10, batch=10)
        kafka.delete_records(topic, {0: 990})
        with pytest.raises(KafkaError, match=r"to 989 are no longer in the topic"):
            driver.read(1_000)
        assert first.offsets == list(range(len(first.rows)))


@pytest.mark.parametrize("policy", ["fail", "earliest", "latest"])
def test_topic_made_anew_is_an_error(kafka: Kafka, policy: str) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    with KafkaDriver(options(kafka, topic, on_truncated=policy)) as driver:
        driver.open([at(topic, 50)])
        with pytest.raises(KafkaError, match="made anew or lost rows"):
            driver.read(1)


@pytest.mark.slow
def test_topic_deleted_while_reading_is_an_error(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    with KafkaDriver(options(kafka, topic, timeout_ms=1_000)) as driver:
        driver.open([at(topic, 0)])
        assert driver.read(3).offsets == [0, 1, 2]
        kafka.delete_topic(topic)
        with pytest.raises(KafkaError, match="does not exist any more"):
            driver.read(1)


# -- the connection


def test_topic_missing(kafka: Kafka) -> None:
    with (
        KafkaDriver(options(kafka, "never-made")) as driver,
        pytest.raises(KafkaError, match="there is no such topic") as error,
    ):
        driver.enumerate()
    assert not error.value.retryable
    assert error.value.kind == "user"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "pause"])
def test_broker_away_in_between(kafka: Kafka, end: str) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    more = {"socket.timeout.ms": 2_000}
    with KafkaDriver(options(kafka, topic, client_options=more)) as driver:
        driver.open(driver.enumerate())
        assert driver.read(3).offsets == [0, 1, 2]
        getattr(kafka, end)()
        away = driver.read(condition=True)
        assert "is away since" in away.condition
        assert away.rows == []
        if end == "kill":
            kafka.start()
        else:
            kafka.resume()
        kafka.produce(topic, numbers(3, 3))
        back = driver.read(3)
        assert back.offsets == [3, 4, 5]
        assert back.condition == ""


@pytest.mark.slow
def test_broker_away_at_start(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    kafka.stop()
    with KafkaDriver(options(kafka, topic, timeout_ms=500)) as driver:
        with pytest.raises(KafkaError, match="refused") as error:
            driver.enumerate()
        assert error.value.kind == "connect"
        assert error.value.retryable
        driver.open([at(topic, 0, end=3)])
        assert "is away since" in driver.read(condition=True).condition
        kafka.start()
        assert driver.read().offsets == [0, 1, 2]


def secured(kafka: Kafka, topic: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    names = {
        "security.protocol": "protocol",
        "sasl.mechanism": "mechanism",
        "sasl.username": "username",
        "sasl.password": "password",
        "ssl.ca.location": "ca_file",
    }
    security = {names[key]: value for key, value in settings.items() if key in names} | more
    security["protocol"] = security["protocol"].lower()
    return {
        "servers": settings["bootstrap.servers"],
        "topics": [topic],
        "security": security,
        "timeout_ms": 20_000,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_sasl(kafka: Kafka, mechanism: str) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    good = secured(kafka, topic, kafka.sasl(mechanism))
    with KafkaDriver(good) as driver:
        assert driver.read_all().offsets == [0, 1, 2]
    wrong = secured(kafka, topic, kafka.sasl(mechanism), password="not-the-password")
    with KafkaDriver(wrong) as driver:
        with pytest.raises(KafkaError, match="uthentication fail") as error:
            driver.enumerate()
        assert not error.value.retryable
        assert "not-the-password" not in str(error.value)
        driver.open([at(topic, 0)])
        with pytest.raises(KafkaError, match="uthentication fail"):
            driver.read(1)


def test_tls(kafka: Kafka) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, numbers(3))
    with KafkaDriver(secured(kafka, topic, kafka.tls)) as driver:
        assert driver.read_all().offsets == [0, 1, 2]
    stranger = secured(kafka, topic, kafka.tls, ca_file=str(kafka.certificates.other_ca))
    with KafkaDriver(stranger) as driver:
        with pytest.raises(KafkaError, match="certificate") as error:
            driver.enumerate()
        assert not error.value.retryable
        driver.open([at(topic, 0)])
        with pytest.raises(KafkaError, match="certificate"):
            driver.read(1)
