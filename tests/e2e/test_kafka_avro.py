"""Avro through a real broker and a real registry, written by Confluent's own serializer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from frazil.run.live import conditions

from tests.e2e.waiting import running, wait_until
from tests.python.connect_avro import Registry

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
    from tests.services.schema_registry import SchemaRegistry

pytestmark = pytest.mark.service

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
ADDRESS = {
    "type": "record",
    "name": "Address",
    "namespace": "crm",
    "fields": [{"name": "zip", "type": "string"}],
}


def order(version: int) -> dict[str, Any]:
    """Versions of a schema: a field is added, then one promoted and one dropped."""
    fields: list[dict[str, Any]] = [
        {"name": "id", "type": "int" if version < 3 else "long"},
        {"name": "amount", "type": MONEY},
    ]
    if version < 3:
        fields.append({"name": "note", "type": ["null", "string"], "default": None})
    if version > 1:
        fields.insert(0, {"name": "currency", "type": "string", "default": "EUR"})
    return {"type": "record", "name": "Order", "namespace": "shop", "fields": fields}


def messages(registry: str, topic: str, version: int, rows: list[dict[str, Any]]) -> list[bytes]:
    """Rows as Confluent's serializer writes them; it registers the schema."""
    with SchemaRegistryClient({"url": registry}) as client:
        serializer = AvroSerializer(client, json.dumps(order(version)))
        context = SerializationContext(topic, MessageField.VALUE)
        made = [serializer(row, context) for row in rows]
    assert all(made)
    return [each for each in made if each is not None]


def row(id_: int, version: int) -> dict[str, Any]:
    made: dict[str, Any] = {"id": id_, "amount": Decimal(id_).scaleb(-2)}
    if version < 3:
        made["note"] = "x" if id_ % 2 else None
    if version > 1:
        made["currency"] = "USD"
    return made


@pytest.mark.parametrize("workers", [1, 2])
def test_versions_of_a_schema_in_one_topic(
    workers: int, kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic(partitions=2)
    expected = []
    for version in (1, 2, 3):
        rows = [row(version * 1_000 + number, version) for number in range(200)]
        made = messages(schema_registry.url, topic, version, rows)
        for partition in range(2):
            kafka.produce(topic, made[partition::2], partition=partition)
        expected += [{"currency": "EUR", **each} for each in rows]
    read = fz.read_kafka(
        topic, servers=kafka.bootstrap, format="avro", registry=schema_registry.url
    )
    assert read.schema.names == ["currency", "id", "amount"]
    sink = read.write_memory()
    pipeline = fz.Pipeline("orders", sink, checkpoint=str(tmp_path / "state"), workers=workers)
    pipeline.run(until="now", quiet=True)
    got = sorted(sink.table().to_pylist(), key=lambda each: each["id"])
    for each in expected:
        each.pop("note", None)
    assert got == sorted(expected, key=lambda each: each["id"])


def test_references_and_ids_nobody_knows(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    schema_registry.register("crm.Address", ADDRESS)
    user = {
        "type": "record",
        "name": "User",
        "namespace": "crm",
        "fields": [{"name": "home", "type": "Address"}],
    }
    reference = SchemaReference("crm.Address", "crm.Address", 1)
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        id_ = client.register_schema(
            f"{topic}-value", Schema(json.dumps(user), "AVRO", references=[reference])
        )
    zip_ = b"\x0a12345"
    known = b"\0" + id_.to_bytes(4, "big") + zip_
    kafka.produce(topic, [known, b"\0\x7f\xff\xff\xff" + zip_, known, b"{}", known + b"!"])
    read = fz.read_kafka(
        topic,
        servers=kafka.bootstrap,
        format="avro",
        registry=schema_registry.url,
        metadata=["offset"],
    )
    sink, bad = read.write_memory(), read.rejected.write_memory(name="bad")
    pipeline = fz.Pipeline("users", sink, bad, checkpoint=str(tmp_path / "state"))
    report = pipeline.run(until="now", quiet=True)
    assert sink.table()["home"].to_pylist() == [{"zip": "12345"}] * 2
    assert sink.table()["_offset"].to_pylist() == [0, 2]
    reasons = bad.table().sort_by("position").to_pylist()
    assert [each["position"] for each in reasons] == [1, 3, 4]
    assert f"schema {0x7FFFFFFF} of {schema_registry.url}" in reasons[0]["reason"]
    assert "the registry answers that it has none" in reasons[0]["reason"]
    (source,) = report.sources.values()
    assert (source.read, source.good, source.rejected) == (5, 2, 3)


def test_change_events_of_a_table(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic(partitions=2)
    registry = Registry(lambda schema: schema_registry.register(f"{topic}-value", schema))
    user = {
        "type": "struct",
        "optional": True,
        "name": "crm.users.Value",
        "fields": [
            {"field": "id", "type": "int64"},
            {"field": "name", "type": "string", "optional": True},
            {"field": "at", "type": "int64", "name": "io.debezium.time.MicroTimestamp"},
        ],
    }
    sides = [{**user, "field": "before"}, {**user, "field": "after"}]
    fields = [*sides, {"field": "op", "type": "string"}]
    envelope = {"type": "struct", "name": "crm.users.Envelope", "fields": fields}
    random, table = Random(7), dict[int, dict[str, Any]]()
    for number in range(500):
        id_ = random.randrange(20)
        old, new = table.get(id_), {"id": id_, "name": random.choice("ab"), "at": number}
        event: dict[str, Any] = {"op": "c" if old is None else "u", "before": old, "after": new}
        if old is not None and random.random() < 0.4:
            event = {"op": "d", "before": old, "after": None}
            del table[id_]
        else:
            table[id_] = new
        kafka.produce(topic, [registry.message(envelope, event)], partition=id_ % 2)
    read = fz.read_kafka(
        topic,
        servers=kafka.bootstrap,
        format=fz.DebeziumAvro(before="full"),
        registry=schema_registry.url,
        key=["id"],
    )
    sink = read.write_memory()
    pipeline = fz.Pipeline("users", sink, checkpoint=str(tmp_path / "state"), workers=2)
    pipeline.run(until="now", quiet=True)
    left = sorted(sink.table().to_pylist(), key=lambda row: row["id"])
    since = datetime(1970, 1, 1)
    assert left == [
        {**row, "at": since + timedelta(microseconds=row["at"])} for _, row in sorted(table.items())
    ]


def test_json_behind_the_id_of_its_schema(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic = kafka.create_topic()
    click = {
        "type": "object",
        "properties": {"user": {"type": "string"}, "at": {"type": "string", "format": "date-time"}},
        "required": ["user"],
    }
    id_ = schema_registry.register(f"{topic}-value", click, kind="JSON")
    header = b"\0" + id_.to_bytes(4, "big")
    clicks = [b'{"user": "ada", "at": "2026-01-02T03:04:05Z"}', b'{"user": "bob"}', b'{"user": 7}']
    kafka.produce(topic, [header + each for each in clicks])
    read = fz.read_kafka(
        topic, servers=kafka.bootstrap, format="json-schema", registry=schema_registry.url
    )
    sink, bad = read.write_memory(), read.rejected.write_memory(name="bad")
    fz.Pipeline("clicks", sink, bad, checkpoint=str(tmp_path / "state")).run(
        until="now", quiet=True
    )
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert sink.table().to_pylist() == [{"user": "ada", "at": at}, {"user": "bob", "at": None}]
    assert bad.table()["column"].to_pylist() == ["user"]


def test_a_registry_that_is_away_holds_up_only_its_rows(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path
) -> None:
    topic, other = kafka.create_topic(), kafka.create_topic()
    rows = [row(number, 1) for number in range(50)]
    made = messages(schema_registry.url, topic, 1, rows)
    registry = fz.SchemaRegistry(schema_registry.url, timeout="500ms")
    orders = fz.read_kafka(
        topic,
        servers=kafka.bootstrap,
        format="avro",
        registry=registry,
        schema={"id": int, "note": str | None},
    )
    beside = fz.read_kafka(other, servers=kafka.bootstrap, schema={"n": int})
    held, free = orders.write_memory(name="held"), beside.write_memory(name="free")
    pipeline = fz.Pipeline(
        "away", held, free, checkpoint=str(tmp_path / "state"), checkpoint_every="100ms"
    )
    ids = {node.get("name"): node["id"] for node in pipeline.plan.json["nodes"]}
    held_id, free_id = ids["held"], ids["free"]
    schema_registry.pause()
    kafka.produce(topic, made)
    with running(pipeline) as handle:
        kafka.produce(other, [b'{"n": 1}'])
        wait_until(lambda: handle.status.committed_rows.get(free_id, 0) == 1, handle)
        wait_until(lambda: registry.name in handle.status.trouble, handle)
        assert held_id not in handle.status.committed_rows
        assert f"of {registry.name}" in " ".join(conditions(handle.status))
        schema_registry.resume()
        wait_until(lambda: handle.status.committed_rows.get(held_id, 0) == len(rows), handle)
        assert registry.name not in handle.status.trouble
    assert held.table()["id"].to_pylist() == [each["id"] for each in rows]
