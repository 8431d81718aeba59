"""A program as a user writes one: a table's change events into a table of the lake."""

import json
import os
from typing import Any

import frazil as fz
from frazil import col

from tests.cdc.tables import MariadbItem, PostgresItem

postgres = os.environ["CDC_SYSTEM"] == "postgres"
truncates: Any = os.environ["CDC_TRUNCATES"]
items = fz.read_kafka(
    os.environ["CDC_TOPIC"],
    servers=os.environ["CDC_SERVERS"],
    format=fz.DebeziumJson(keep=["note"], truncates=truncates)
    if postgres
    else fz.DebeziumJson(decimals="string", truncates=truncates),
    schema=PostgresItem if postgres else MariadbItem,
    key=["id"],
    metadata=["source.lsn"] if postgres else ["source.file", "source.pos"],
)
if postgres:
    items = items.rename({"_source_lsn": "place"})
else:
    file = col("_source_file").str.tail(6).cast(int)
    items = items.with_columns(place=file * 2**32 + col("_source_pos"))
    items = items.drop("_source_file", "_source_pos")
folder = os.environ["CDC_FOLDER"]
sink = items.write_iceberg(
    os.environ["CDC_TABLE"],
    mode="upsert",
    key=["id"],
    order_by="place" if truncates == "apply" else None,
    catalog=json.loads(os.environ["CDC_CATALOG"]),
)
pipeline = fz.Pipeline(
    "items", sink, checkpoint=f"{folder}/checkpoints", checkpoint_every="200ms", workers=2
)
