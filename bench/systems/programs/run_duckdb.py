"""The workloads in DuckDB."""

from __future__ import annotations

import argparse

import duckdb

COLUMNS = {
    "id": "BIGINT",
    "ts": "BIGINT",
    "user": "VARCHAR",
    "page": "VARCHAR",
    "country": "VARCHAR",
    "amount": "DOUBLE",
    "quantity": "BIGINT",
}

W1 = """
SELECT id, make_timestamp_ms(ts) AS ts, "user", page, country, amount, quantity,
       amount * quantity AS total
FROM {events}
WHERE amount > 10
"""

# A row is refused if the watermark before it (2 s behind the latest) has passed its minute.
W2 = """
SELECT page, make_timestamp_ms(start) AS window_start,
       make_timestamp_ms(start + 60000) AS window_end,
       count(*) AS events, sum(amount) AS revenue
FROM (SELECT page, amount, ts - ts % 60000 AS start,
             max(ts) OVER (ROWS UNBOUNDED PRECEDING) - 2000 AS watermark
      FROM {events})
WHERE start + 60000 > watermark
GROUP BY page, start
"""

# No row is refused: they are less than 5 s out of order. The sum's frame ends with the last row of
# the same time, so that it does not matter which of those the session begins with.
W3 = """
SELECT "user", make_timestamp_ms(min(ts)) AS window_start,
       make_timestamp_ms(max(ts) + 30000) AS window_end, count(*) AS events
FROM (SELECT "user", ts, sum(begins) OVER (PARTITION BY "user" ORDER BY ts) AS session
      FROM (SELECT "user", ts,
                   CASE WHEN ts - lag(ts) OVER (PARTITION BY "user" ORDER BY ts) <= 30000
                        THEN 0 ELSE 1 END AS begins
            FROM {events}))
GROUP BY "user", session
"""

WORKLOADS = {
    "w1": (W1, tuple(COLUMNS)),
    "w2": (W2, ("ts", "page", "amount")),
    "w3": (W3, ("ts", "user")),
}


def main() -> None:
    """Run the query in one thread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    database = duckdb.connect(config={"threads": "1"})
    query, names = WORKLOADS[given.workload]
    columns = ", ".join(f"\"{name}\": '{COLUMNS[name]}'" for name in names)
    events = f"read_json('{given.path}', format = 'newline_delimited', columns = {{{columns}}})"
    written = (
        f"COPY ({query.format(events=events)}) TO '{given.out}/{given.workload}.parquet' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    )
    print(database.execute(written).fetchall())


if __name__ == "__main__":
    main()
