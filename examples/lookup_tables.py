"""Events beside rows of two tables: prices in a database, refreshed, and a list of devices."""

import sqlite3

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
from frazil import col


def make_tables() -> None:
    """What others would have: a database of prices, a file of devices."""
    with sqlite3.connect("shop.db") as database:
        database.execute("create table if not exists prices (quantity integer, euros real)")
        database.execute("delete from prices")
        database.executemany(
            "insert into prices values (?, ?)", [(n, 1.5 * n) for n in range(1, 9)]
        )
    database.close()
    devices = pa.table({"device": ["mobile", "desktop"], "vendor": ["Ring", "Desk"]})
    pq.write_table(devices, "devices.parquet")


def build() -> fz.Pipeline:
    """Events with a price, and with the vendor if the device is known."""
    prices = fz.lookup_sql(
        "select quantity, euros from prices",
        url="sqlite:///shop.db",
        schema={"quantity": int, "euros": float},
        refresh="10m",
        name="prices",
    )
    devices = fz.lookup_parquet("devices.parquet")
    priced = (
        fz.read_generator(rows=10_000, seed=1)
        .join_lookup(prices, on="quantity")
        .join_lookup(devices, on="device", how="left")
        .select("id", "at", "device", "vendor", total=col("amount") + col("euros"))
    )
    return fz.Pipeline("priced", priced.write_iceberg("shop.priced"))


if __name__ == "__main__":
    make_tables()
    pipeline = build()
    print(pipeline.explain())
    report = pipeline.run(until="now")
    print(f"shop.priced: {report.sinks['shop.priced'].rows} rows")
