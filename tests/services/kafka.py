"""Apache Kafka: one KRaft broker from Maven Central, plain, with SASL, and with TLS."""

import itertools
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    NewPartitions,
    NewTopic,
)

from tests.services.cache import run_tool
from tests.services.certificates import Certificates, make_certificates
from tests.services.maven import JAVA_FLAGS, jars, java_tool
from tests.services.ports import accepts, free_port
from tests.services.process import Process, ServiceError

KAFKA_VERSION = "4.4.0"
_ARTIFACTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
)
_CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
# Seconds an administrative call, a flush, or reading a topic to its end may take.
CALL_SECONDS_MAX = 30.0

# Messages to produce: a value alone, or Producer.produce's keyword arguments.
Payload = bytes | Mapping[str, Any]
Settings = dict[str, str | int | float | bool]

_LOG4J = """<Configuration><Appenders><Console name="C">
<PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="info"><AppenderRef ref="C"/></Root></Loggers></Configuration>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.tls.ssl.client.auth=requested
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=6000
log.retention.ms=-1
log.segment.bytes=134217728
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""  # noqa: E501


def fetch_kafka() -> Path:
    """Return the folder with the broker's jars, fetched on first use."""
    return jars(f"kafka-{KAFKA_VERSION}", _ARTIFACTS)


# The group's coordinator is being chosen or loads its state.
_COORDINATOR_COMES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Kafka:
    """A broker that keeps its ports and data over stop, kill and start."""

    user = "alice"
    password = "alice-password"

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._plain, self._sasl, self._tls, self._controller = (free_port() for _ in range(4))
        self.bootstrap = f"127.0.0.1:{self._plain}"
        self.certificates: Certificates = make_certificates(run_dir / "certificates")
        lib = fetch_kafka()
        self._java = [java_tool("java"), *JAVA_FLAGS,
                      f"-Dlog4j2.configurationFile={run_dir}/log4j2.xml",
                      "-cp", f"{lib}/*"]  # fmt: skip
        self._properties = run_dir / "server.properties"
        self._write_config()
        self._process = Process(
            "kafka", [*self._java, "kafka.Kafka", self._properties], run_dir=run_dir
        )
        self._names = itertools.count(1)
        self._admin: AdminClient | None = None

    # -- the broker as a process

    def start(self) -> None:
        """Start the broker, on the data of the last run if there is any."""
        if not (self._run_dir / "data").exists():
            self._format()
        self._process.start(
            lambda: "Kafka Server started" in self._process.log() and accepts(self._plain)
        )

    def stop(self) -> None:
        """Shut the broker down in good order."""
        self._admin = None
        self._process.stop()

    def kill(self) -> None:
        """End the broker at once (kill -9)."""
        self._admin = None
        self._process.kill()

    def restart(self) -> None:
        """Stop and start on the same data and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker: connections stay open, nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let a paused broker go on."""
        self._process.resume()

    @property
    def running(self) -> bool:
        """Whether the broker's process lives."""
        return self._process.running

    # -- client settings; frazil's connectors take the same names

    @property
    def plain(self) -> Settings:
        """Settings for the listener without authentication."""
        return {"bootstrap.servers": self.bootstrap}

    def sasl(self, mechanism: str = "SCRAM-SHA-256") -> Settings:
        """Settings for SASL without TLS; mechanism PLAIN or SCRAM-SHA-256."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self._sasl}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.username": self.user,
            "sasl.password": self.password,
        }

    @property
    def tls(self) -> Settings:
        """Settings for TLS with our own authority."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self._tls}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.certificates.ca),
        }

    # -- topics

    @property
    def admin(self) -> AdminClient:
        """An AdminClient on the plain listener."""
        if self._admin is None:
            self._admin = AdminClient({**self.plain, "log_level": 0})
        return self._admin

    def create_topic(
        self,
        name: str | None = None,
        *,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Create a topic and return its name (a new one if none is given)."""
        topic = name or f"topic-{next(self._names)}"
        new = NewTopic(topic, partitions, 1, config=dict(config or {}))
        _wait(self.admin.create_topics([new]))
        return topic

    def delete_topic(self, topic: str) -> None:
        """Delete a topic."""
        _wait(self.admin.delete_topics([topic]))

    def add_partitions(self, topic: str, total: int) -> None:
        """Grow a topic to `total` partitions."""
        _wait(self.admin.create_partitions([NewPartitions(topic, total)]))

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete what lies before an offset per partition, as retention would."""
        parts = [TopicPartition(topic, part, offset) for part, offset in before.items()]
        _wait(self.admin.delete_records(parts))

    def partitions(self, topic: str) -> list[int]:
        """Return the topic's partition numbers in order."""
        meta = self.admin.list_topics(topic, timeout=CALL_SECONDS_MAX).topics[topic]
        if meta.error is not None:
            raise ServiceError(f"listing partitions of {topic!r}: {meta.error}")
        return sorted(meta.partitions)

    def offsets(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return (first, end) offset of each partition."""
        consumer = self._consumer("read_uncommitted")
        try:
            return {
                part: consumer.get_watermark_offsets(
                    TopicPartition(topic, part), timeout=CALL_SECONDS_MAX
                )
                for part in self.partitions(topic)
            }
        finally:
            consumer.close()

    def group_offset(self, group: str, topic: str, *, partition: int = 0) -> int | None:
        """Return the offset that a consumer group has committed, None if it has not, or if
        the group's coordinator is only coming up: ask again.

        By a consumer: an AdminClient's list_consumer_group_offsets ends the process with a
        segmentation fault if the group's coordinator is not there yet (librdkafka 2.x).
        """
        consumer = Consumer({**self.plain, "group.id": group, "log_level": 0})
        try:
            [found] = consumer.committed([TopicPartition(topic, partition)], CALL_SECONDS_MAX)
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_COMES:
                raise
            return None
        finally:
            consumer.close()
        return None if found.offset < 0 else int(found.offset)

    # -- messages

    def producer(self, **settings: Any) -> Producer:
        """Return a Producer on the plain listener; settings with `_` for `.`."""
        named = {name.replace("_", "."): value for name, value in settings.items()}
        return Producer({**self.plain, "linger.ms": 2, "log_level": 3, **named})

    def produce(self, topic: str, payloads: Iterable[Payload], *, partition: int = -1) -> int:
        """Produce and wait until the broker has all; return how many.

        A payload is a value, or a mapping of Producer.produce's arguments (value, key, partition,
        timestamp, headers).
        """
        # No retries and one request at a time, so nothing doubles or changes order (a topic that
        # was just made may refuse the first one); an idempotent producer would wait a second for
        # its id.
        producer = self.producer(acks="all", retries=0, max_in_flight_requests_per_connection=1)
        # The topic has to be known first: the client holds what comes before that aside, and what
        # comes when it is just known may be sent ahead of it.
        producer.list_topics(topic, timeout=CALL_SECONDS_MAX)
        refused: list[str] = []
        count = 0

        def delivered(error: object, _message: Message) -> None:
            if error is not None:
                refused.append(str(error))

        for payload in payloads:
            given: dict[str, Any] = (
                {"value": payload} if isinstance(payload, bytes) else dict(payload)
            )
            given.setdefault("partition", partition)
            while True:
                try:
                    producer.produce(topic, on_delivery=delivered, **given)
                    break
                except BufferError:  # the local queue is full; poll makes room
                    producer.poll(0.1)
            count += 1
            producer.poll(0)
        left = producer.flush(CALL_SECONDS_MAX)
        if left or refused:
            why = refused[0] if refused else f"{left} not acknowledged in {CALL_SECONDS_MAX} s"
            raise ServiceError(f"producing {count} messages to {topic!r}: {why}")
        return count

    def read(self, topic: str, *, isolation: str = "read_committed") -> list[Message]:
        """Return all messages up to each partition's present end, partition by partition."""
        consumer = self._consumer(isolation)
        try:
            return _read_to_end(consumer, topic, self.partitions(topic))
        finally:
            consumer.close()

    def _consumer(self, isolation: str) -> Consumer:
        return Consumer(
            {
                **self.plain,
                "group.id": "frazil-tests",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,  # the end of a partition shows after one empty fetch
            }
        )

    # -- set-up

    def _write_config(self) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True)
        (self._run_dir / "log4j2.xml").write_text(_LOG4J)
        self._properties.write_text(
            _PROPERTIES.format(
                plain=self._plain,
                sasl=self._sasl,
                tls=self._tls,
                controller=self._controller,
                user=self.user,
                password=self.password,
                keystore=self.certificates.server_pem,
                truststore=self.certificates.ca,
                data=self._run_dir / "data",
            )
        )

    def _format(self) -> None:
        scram = f"SCRAM-SHA-256=[name={self.user},password={self.password}]"
        run_tool(
            [*self._java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID,
             "-c", self._properties, "--add-scram", scram],
            cwd=self._run_dir,
            timeout_s=CALL_SECONDS_MAX,
        )  # fmt: skip


def _wait(futures: Mapping[Any, Any]) -> None:
    for future in futures.values():
        future.result(CALL_SECONDS_MAX)


def _read_to_end(consumer: Consumer, topic: str, parts: list[int]) -> list[Message]:
    messages: dict[int, list[Message]] = {part: [] for part in parts}
    open_parts = set(parts)
    consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in parts])
    deadline = time.monotonic() + CALL_SECONDS_MAX
    while open_parts:
        if time.monotonic() > deadline:
            raise ServiceError(
                f"reading {topic}{sorted(open_parts)}: no end in {CALL_SECONDS_MAX} s"
            )
        message = consumer.poll(0.5)
        if message is None:
            continue
        error, part = message.error(), message.partition()
        assert part is not None  # None only for messages that were never sent
        if error is None:
            messages[part].append(message)
        elif error.name() == "_PARTITION_EOF":
            open_parts.discard(part)
        else:
            raise ServiceError(f"reading {topic}[{part}]: {error}")
    return [message for part in parts for message in messages[part]]
