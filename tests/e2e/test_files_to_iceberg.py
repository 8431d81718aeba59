"""Files, compressed or not, of a disk or an object store, into a table in S3."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.lake import ACCESS_KEY, CHECKPOINT, SECRET_KEY, Lake

if TYPE_CHECKING:
    from tests.services.s3 import S3

pytestmark = pytest.mark.service

BUCKET = "incoming"


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data))


def lines(numbers: range) -> bytes:
    return b"".join(
        json.dumps({"id": number, "name": f"n{number}", "skip": [1]}).encode() + b"\n"
        for number in numbers
    )


def parquet(numbers: range) -> bytes:
    out = io.BytesIO()
    table = pa.table(
        {"id": list(numbers), "name": [f"n{number}" for number in numbers]},
        schema=pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())]),
    )
    pq.write_table(table, out, row_group_size=300)
    return out.getvalue()


def of_s3(s3: S3) -> fz.S3:
    return fz.S3(
        endpoint=s3.endpoint,
        region=s3.region,
        access_key=fz.secret(ACCESS_KEY),
        secret_key=fz.secret(SECRET_KEY),
    )


def read(where: str, format: str, s3: fz.S3 | None) -> fz.Stream:
    metadata = ["path", "offset"]
    if format == "parquet":
        return fz.read_files(where, format="parquet", metadata=metadata, s3=s3)  # type: ignore[arg-type]
    schema = {"id": int, "name": str | None}
    return fz.read_files(where, format="json", schema=schema, metadata=metadata, s3=s3)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["local", "s3"])
@pytest.mark.parametrize("format", ["json", "parquet"])
def test_files(lake: Lake, s3: S3, tmp_path: Path, place: str, format: str) -> None:
    client = s3.client()
    s3.create_bucket(BUCKET)
    folder = f"{place}-{format}"
    where = f"s3://{BUCKET}/{folder}" if place == "s3" else str(tmp_path)

    def put(name: str, data: bytes) -> None:
        if place == "s3":
            client.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=data)
        else:
            (tmp_path / name).write_bytes(data)

    def run() -> fz.RunReport:
        rows = read(where, format, of_s3(s3) if place == "s3" else None)
        sink = rows.write_iceberg(f"files.{place}_{format}", catalog=lake.catalog)
        return fz.Pipeline(
            f"files_{folder}", sink, checkpoint=CHECKPOINT, checkpoint_every="50ms"
        ).run(until="now", quiet=True)

    if format == "parquet":
        put("a.parquet", parquet(range(1_000)))
        put("b.parquet", parquet(range(1_000, 2_000)))
    else:
        put("a.jsonl", lines(range(500)))
        put("b.jsonl.gz", gzip.compress(lines(range(500, 1_000))))
        put("c.jsonl.zst", zstd(lines(range(1_000, 2_000))))
    [source] = run().sources.values()
    assert source.read == 2_000
    put(
        "d.parquet" if format == "parquet" else "d.jsonl.zst",
        parquet(range(2_000, 2_500)) if format == "parquet" else zstd(lines(range(2_000, 2_500))),
    )
    [source] = run().sources.values()
    assert source.read == 500
    [source] = run().sources.values()
    assert source.read == 0
    rows = lake.read(f"files.{place}_{format}").sort_by("id")
    assert rows["id"].to_pylist() == list(range(2_500))
    assert rows["name"].to_pylist() == [f"n{number}" for number in range(2_500)]
    last = rows.slice(2_499).to_pylist()[0]
    assert last["_path"].endswith("d.parquet" if format == "parquet" else "d.jsonl.zst")
    client.close()
