"""Runs the engine's Iceberg data writer alone and reads its token."""

import base64
import json
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from frazil import _engine


def with_ids(schema: pa.Schema) -> pa.Schema:
    """Give every field, nested ones too, an Iceberg field id."""
    last = 0

    def number(field: pa.Field) -> pa.Field:
        nonlocal last
        last += 1
        own = last
        kind = field.type
        if pa.types.is_struct(kind):
            kind = pa.struct([number(kind.field(i)) for i in range(kind.num_fields)])
        elif pa.types.is_list(kind):
            kind = pa.list_(number(kind.value_field))
        elif pa.types.is_map(kind):
            kind = pa.map_(number(kind.key_field), number(kind.item_field))
        return pa.field(field.name, kind, field.nullable, {"PARQUET:field_id": str(own)})

    return pa.schema([number(field) for field in schema])


def write(
    folder: Path,
    schema: pa.Schema,
    data: pa.Table | list[pa.RecordBatch],
    *,
    epoch: int = 1,
    io_threads: int = 0,
    **options: Any,
) -> list[dict[str, Any]]:
    """Write data as one epoch; the files of the token."""
    if isinstance(data, list):
        data = pa.Table.from_batches(data)
    given = {
        "location": f"file://{folder}",
        "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
        **options,
    }
    token = _engine.write_sink(
        "iceberg", json.dumps(given), data, epoch=epoch, io_threads=io_threads
    )
    if not token:
        return []
    parsed = json.loads(token)
    assert parsed["v"] == 1
    files: list[dict[str, Any]] = parsed["files"]
    return files


def path_of(file: dict[str, Any]) -> Path:
    return Path(file["path"].removeprefix("file://"))


def read(files: list[dict[str, Any]]) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(path_of(file)).read() for file in files])


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def value_of(kind: pa.DataType, text: str) -> Any:
    """The Python value of single-value bytes in hex."""
    data = bytes.fromhex(text)
    if pa.types.is_boolean(kind):
        return data == b"\x01"
    if pa.types.is_int32(kind):
        return struct.unpack("<i", data)[0]
    if pa.types.is_int64(kind):
        return struct.unpack("<q", data)[0]
    if pa.types.is_float32(kind):
        return struct.unpack("<f", data)[0]
    if pa.types.is_float64(kind):
        return struct.unpack("<d", data)[0]
    if pa.types.is_date32(kind):
        return date(1970, 1, 1) + timedelta(days=struct.unpack("<i", data)[0])
    if pa.types.is_time64(kind):
        micros = struct.unpack("<q", data)[0]
        return (datetime.min + timedelta(microseconds=micros)).time() if micros else time()
    if pa.types.is_timestamp(kind):
        moment = _EPOCH + timedelta(microseconds=struct.unpack("<q", data)[0])
        return moment if kind.tz else moment.replace(tzinfo=None)
    if pa.types.is_decimal(kind):
        unscaled = int.from_bytes(data, "big", signed=True)
        return Decimal(f"{unscaled}e-{kind.scale}")
    if pa.types.is_string(kind):
        return data.decode()
    return data
