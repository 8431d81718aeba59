"""W1 in DuckDB."""

from __future__ import annotations

import argparse

import duckdb

QUERY = """
COPY (
  SELECT id, make_timestamp_ms(ts) AS ts, "user", page, country, amount, quantity,
         amount * quantity AS total
  FROM read_json('{path}', format = 'newline_delimited', columns = {{
    id: 'BIGINT', ts: 'BIGINT', "user": 'VARCHAR', page: 'VARCHAR', country: 'VARCHAR',
    amount: 'DOUBLE', quantity: 'BIGINT'}})
  WHERE amount > 10
) TO '{out}/w1.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)
"""


def main() -> None:
    """Run the query in one thread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", required=True)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    database = duckdb.connect(config={"threads": "1"})
    print(database.execute(QUERY.format(path=given.path, out=given.out)).fetchall())


if __name__ == "__main__":
    main()
