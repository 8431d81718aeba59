"""A program as a user writes one: a table's change events into a table of the lake."""

import os

import frazil as fz

from tests.cdc.tables import MariadbItem, PostgresItem

postgres = os.environ["CDC_SYSTEM"] == "postgres"
items = fz.read_kafka(
    os.environ["CDC_TOPIC"],
    servers=os.environ["CDC_SERVERS"],
    format=fz.DebeziumJson(keep=["note"]) if postgres else fz.DebeziumJson(decimals="string"),
    schema=PostgresItem if postgres else MariadbItem,
    key=["id"],
)
folder = os.environ["CDC_FOLDER"]
sink = items.write_iceberg(
    "crm.items",
    mode="upsert",
    key=["id"],
    catalog={
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalog.db",
        "warehouse": f"file://{folder}/warehouse",
    },
)
pipeline = fz.Pipeline(
    "items", sink, checkpoint=f"{folder}/checkpoints", checkpoint_every="200ms", workers=2
)
