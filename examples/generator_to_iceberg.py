"""The smallest whole pipeline: made-up events into an Iceberg table, and a look at the table."""

import frazil as fz
from frazil import col
from pyiceberg.catalog import load_catalog

events = fz.read_generator(rows=50_000, seed=7)
sales = events.filter(col("amount") > 10).with_columns(total=col("amount") * col("quantity"))

pipeline = fz.Pipeline("sales", sales.write_iceberg("shop.sales", partition_by="country"))

if __name__ == "__main__":
    print(pipeline.run())  # run it again: nothing is doubled
    catalog = load_catalog("embedded", type="sql", uri="sqlite:///warehouse/catalog.db")
    print(catalog.load_table("shop.sales").scan(limit=3).to_arrow().to_pylist())
