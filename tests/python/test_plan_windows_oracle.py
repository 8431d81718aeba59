"""Random windows: what their plans compute is what they say, whatever columns were left out."""

import sys
from pathlib import Path

import frazil as fz
from frazil import col
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from plan_interpreter import rows_of_sinks

from tests.python.random_windows import ROWS, aggregates, grouped, in_order, mark


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_plans_compute_what_windows_say(data: st.DataObject) -> None:
    stream, rows = fz.read_memory(ROWS, name="rows"), ROWS
    if mapped := data.draw(st.booleans()):
        stream = stream.map_batches(mark, schema=stream.schema)
    stream = stream.event_time("at", out_of_order="1h")
    if data.draw(st.booleans()):
        least = data.draw(st.integers(0, 4))
        stream, rows = stream.filter(col("b") > least), [row for row in rows if row["b"] > least]
    if data.draw(st.booleans()):
        stream, rows = (
            stream.with_columns(c=col("c") + col("a")),
            [{**row, "c": row["c"] + row["a"]} for row in rows],
        )
    if data.draw(st.booleans()):
        stream = stream.rename(at="when").select("b", "when", "c", "a").rename(when="at")
    sinks, expected = [], {}
    for number in range(data.draw(st.integers(1, 3))):
        keys = data.draw(st.lists(st.sampled_from("abc"), unique=True, max_size=2))
        asked, compute = aggregates(data.draw)
        made = stream.group_by(*keys).window(fz.tumbling("1m")).agg(asked).named(f"w{number}")
        result = grouped(rows, keys, compute)
        names = data.draw(
            st.lists(st.sampled_from(made.schema.names), min_size=1, unique=True), label="names"
        )
        sinks.append(made.select(*names).write_memory(name=str(number)))
        expected[str(number)] = [{name: row[name] for name in names} for row in result]
        if not mapped and data.draw(st.booleans()):
            sinks.append(made.late.write_memory(name=f"late {number}"))
            expected[f"late {number}"] = []
    results = rows_of_sinks(fz.Pipeline("p", *sinks).plan)
    assert results.keys() == expected.keys()
    for name, wanted in expected.items():
        assert in_order(results[name].to_pylist()) == in_order(wanted)
