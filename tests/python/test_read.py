"""Readers: options become the plan's, wrong ones are refused."""

import os
from datetime import UTC, datetime
from pathlib import Path

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def source(stream: fz.Stream) -> dict:
    nodes = fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]
    return next(node for node in nodes if node["kind"] == "source")


def test_kafka_options() -> None:
    stream = fz.read_kafka(
        "orders",
        "refunds",
        servers=["a:1", "b:2"],
        schema={"id": int},
        start=datetime(2026, 1, 1, tzinfo=UTC),
        group="lag",
        metadata=["key", "offset", "headers"],
        security=fz.Tls(ca="/ca.pem", verify_hostname=False),
        give_up_after="1m",
        on_bad_row="drop",
    )
    assert stream.schema.names == ["id", "_key", "_offset", "_headers"]
    node = source(stream)
    assert node["name"] == "kafka:orders,refunds"
    assert node["on_bad_row"] == "drop"
    assert node["format"] == {"kind": "json"}
    assert node["options"] == {
        "topics": ["orders", "refunds"],
        "servers": "a:1,b:2",
        "start": {"timestamp_ms": 1767225600000},
        "isolation": "read_committed",
        "tombstones": "reject",
        "on_truncated": "fail",
        "metadata": ["key", "offset", "headers"],
        "client_options": {"ssl.endpoint.identification.algorithm": "none"},
        "security": {"protocol": "ssl", "ca_file": "/ca.pem"},
        "group": "lag",
        "give_up_after_ms": 60_000,
    }


def test_kafka_start_at_offsets() -> None:
    stream = fz.read_kafka(
        "orders", servers="a:1", schema={"id": int}, start={"orders": {0: 5, 3: 7}}
    )
    assert source(stream)["options"]["start"] == {"offsets": {"orders-0": 5, "orders-3": 7}}


def test_metadata_nobody_reads_is_not_asked_for() -> None:
    stream = fz.read_kafka("orders", servers="a:1", schema={"id": int}, metadata=["key", "offset"])
    assert source(stream.select("id", "_offset"))["options"]["metadata"] == ["offset"]


KAFKA = {"servers": "a:1", "schema": {"id": int}}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fz.read_kafka(**KAFKA), "names of topics"),
        (lambda: fz.read_kafka("a", "a", **KAFKA), "each once"),
        (lambda: fz.read_kafka("a", servers="", schema={"id": int}), "needs servers"),
        (lambda: fz.read_kafka("a", **KAFKA, format="csv"), "format='csv' is not offered"),
        (lambda: fz.read_kafka("a", **KAFKA, format="avro"), "no registry is given"),
        (lambda: fz.read_kafka("a", **KAFKA, start="first"), "no place to begin"),
        (lambda: fz.read_kafka("a", **KAFKA, start="group"), "needs a group"),
        (lambda: fz.read_kafka("a", **KAFKA, start=datetime(2026, 1, 1)), "has no zone"),
        (lambda: fz.read_kafka("a", **KAFKA, start={"b": {0: 1}}), "topic in start='b'"),
        (lambda: fz.read_kafka("a", **KAFKA, start={"a": {0: -1}}), "offset of a-0"),
        (lambda: fz.read_kafka("a", **KAFKA, metadata="key"), r"write metadata=\['key'\]"),
        (lambda: fz.read_kafka("a", **KAFKA, metadata=["path"]), "metadata='path'"),
        (lambda: fz.read_kafka("a", **KAFKA, metadata=["key", "key"]), "there twice"),
        (lambda: fz.read_kafka("a", **KAFKA, on_bad_row="skip"), "on_bad_row='skip'"),
        (lambda: fz.read_kafka("a", **KAFKA, security="plain"), "security='plain'"),
        (lambda: fz.read_files("a", format="json"), "fz.infer"),
        (lambda: fz.read_files(format="json", schema={"id": int}), "0 paths"),
        (lambda: fz.read_files("a", format="csv", schema={"id": int}), "format='csv'"),
        (lambda: fz.read_files("gs://a/b", format="json", schema={"id": int}), "no files at"),
        (lambda: fz.read_files("a", format="json", schema={"id": int}, lanes="two"), "lanes='two'"),
        (lambda: fz.read_files("no/where/*.parquet", format="parquet"), "there is no file"),
        (lambda: fz.read_generator(rows=-1), "rows=-1"),
        (lambda: fz.read_generator(rate=0), "rate=0"),
        (lambda: fz.read_generator(partitions=0), "partitions=0"),
        (lambda: fz.read_memory([]), "no rows and no schema"),
        (lambda: fz.read_memory([{"id": "x"}], schema={"id": int}), "rows do not fit"),
        (lambda: fz.read_memory([{"id": None}], schema={"id": int}), "has nulls and may not"),
        (lambda: fz.read_memory(3), "cannot read a int"),
        (lambda: fz.read_memory([{"id": 1}, 2]), "a mixture"),
    ],
)
def test_mistakes(make, text: str) -> None:
    with pytest.raises((fz.PlanError, fz.ConfigError), match=text) as caught:
        make()
    assert len(str(caught.value).splitlines()) <= 4


def test_files_options(tmp_path: Path) -> None:
    node = source(
        fz.read_files(
            tmp_path / "*.jsonl.gz", format="json", schema={"id": int}, metadata=["path", "offset"]
        )
    )
    assert node["connector"] == "file"
    assert node["options"] == {
        "paths": [str(tmp_path / "*.jsonl.gz")],
        "format": "json",
        "compression": "auto",
        "lanes": "one",
        "ordered": True,
        "watch_every_ms": 10_000,
        "on_removed": "fail",
        "metadata": ["path", "offset"],
    }


def test_relative_paths_are_made_absolute() -> None:
    node = source(fz.read_files("x.jsonl", "s3://b/k", format="json", schema={"id": int}))
    assert node["options"]["paths"] == [os.path.abspath("x.jsonl"), "s3://b/k"]
    assert node["name"] == "file:x.jsonl,s3://b/k"


def test_lanes() -> None:
    node = source(fz.read_files(format="json", schema={"id": int}, lanes=[["/a", "/b"], ["/c"]]))
    assert node["options"]["lanes"] == [["/a", "/b"], ["/c"]]
    assert node["options"]["paths"] == ["/a", "/b", "/c"]


def test_parquet_brings_its_schema(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "name": ["a"]}), tmp_path / "a.parquet")
    stream = fz.read_files(tmp_path, format="parquet")
    assert stream.schema == pa.schema({"id": pa.int64(), "name": pa.string()})
    assert source(stream)["format"] is None


def test_memory_stands_in_the_plan() -> None:
    import base64

    node = source(fz.read_memory([{"id": i} for i in range(5)], partitions=2))
    parts = [
        pa.ipc.open_stream(base64.b64decode(text)).read_all()["id"].to_pylist()
        for text in node["options"]["partitions"]
    ]
    assert parts == [[0, 2, 4], [1, 3]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: fz.Tls(certificate="c"),
        lambda: fz.S3(access_key=fz.secret("A")),
        lambda: fz.S3(access_key=fz.secret("A"), secret_key=fz.secret("B"), anonymous=True),
        lambda: fz.Sasl(username="a", password=fz.secret("B"), mechanism="NTLM"),  # type: ignore[arg-type]
    ],
)
def test_half_logins(make) -> None:
    with pytest.raises(fz.PlanError):
        make()


def test_s3_stands_as_the_engine_reads_it() -> None:
    s3 = fz.S3(
        endpoint="http://127.0.0.1:7070",
        region="eu",
        access_key=fz.secret("A"),
        secret_key=fz.secret("B"),
    )
    stream = fz.read_files("s3://b/k", format="json", schema={"id": int}, s3=s3)
    assert source(stream)["options"]["s3"] == {
        "endpoint": "http://127.0.0.1:7070",
        "region": "eu",
        "access_key_id": {"$secret": "A"},
        "secret_access_key": {"$secret": "B"},
        "anonymous": False,
    }
