"""A program whose table gets the columns that the table of a database gets."""

import os

import frazil as fz


class Item(fz.Schema):
    """What the program knows of an item."""

    id: int
    name: str | None
    rest: str | None = fz.field(rest=True)


items = fz.read_kafka(
    os.environ["CDC_TOPIC"],
    servers=os.environ["CDC_SERVERS"],
    format=fz.DebeziumJson(),
    schema=Item,
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
    drift=fz.Drift(on_new_column="evolve", expand="rest"),
)
pipeline = fz.Pipeline(
    "items", sink, checkpoint=f"{folder}/checkpoints", checkpoint_every="200ms", workers=2
)
