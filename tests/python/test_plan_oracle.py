"""Random pipelines: what their plans compute is what the streams say, whatever was left out."""

import sys
from collections.abc import Callable
from pathlib import Path

import frazil as fz
import pyarrow as pa
from frazil import col
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from plan_interpreter import rows_of_sinks

Rows = list[dict[str, int]]


@fz.udf
def plus_seven(x: int | None) -> int | None:
    return None if x is None else x + 7


def turn(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Every second row again, so that rows come and go."""
    rows = [*range(batch.num_rows), *range(0, batch.num_rows, 2)]
    return batch.take(pa.array(rows, pa.int64()))


class Branch:
    """A stream beside its rows, computed in plain Python."""

    def __init__(self, stream: fz.Stream, rows: Rows) -> None:
        self.stream = stream
        self.rows = rows
        assert all(list(row) == stream.schema.names for row in rows)

    @property
    def names(self) -> list[str]:
        return list(self.stream.schema.names)


def source(name: str) -> Branch:
    rows = [{"a": i, "b": i * 3 % 7, "c": i % 3, "d": -i} for i in range(9)]
    return Branch(fz.read_memory(rows, name=name), rows)


def step(draw: Callable, branch: Branch, others: list[Branch], fresh: list[int]) -> Branch:
    names, rows = branch.names, branch.rows
    first = draw(st.sampled_from(names))
    second = draw(st.sampled_from(names))
    number = draw(st.integers(-3, 6))
    fresh[0] += 1
    new = f"n{fresh[0]}"
    kind = draw(
        st.sampled_from(["filter", "with", "replace", "select", "drop", "udf", "map", "both"])
    )
    match kind:
        case "filter":
            kept = [row for row in rows if row[first] > number]
            return Branch(branch.stream.filter(col(first) > number), kept)
        case "with":
            made = [{**row, new: row[first] + row[second]} for row in rows]
            return Branch(branch.stream.with_columns({new: col(first) + col(second)}), made)
        case "replace":
            made = [{**row, first: row[second] - number} for row in rows]
            return Branch(branch.stream.with_columns({first: col(second) - number}), made)
        case "select":
            made = [{second: row[second], new: row[first] * 2} for row in rows]
            return Branch(branch.stream.select(second, {new: col(first) * 2}), made)
        case "drop" if len(names) > 1:
            made = [{name: row[name] for name in names if name != first} for row in rows]
            return Branch(branch.stream.drop(first), made)
        case "udf":
            made = [{**row, new: row[first] + 7 + row[second]} for row in rows]
            return Branch(
                branch.stream.with_columns({new: plus_seven(col(first)) + col(second)}), made
            )
        case "map":
            schema = branch.stream.schema
            return Branch(branch.stream.map_batches(turn, schema=schema), rows + rows[::2])
        case "both" if others:
            other = draw(st.sampled_from(others))
            if names == other.names:
                return Branch(branch.stream.union(other.stream), rows + other.rows)
            common = [name for name in names if name in other.names]
            if common:
                streams = [each.stream.select(*common) for each in (branch, other)]
                made = [{name: row[name] for name in common} for row in rows + other.rows]
                return Branch(streams[0].union(streams[1]), made)
    return branch


def key(row: dict[str, int]) -> list[tuple[str, int]]:
    return list(row.items())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_plans_compute_what_streams_say(data: st.DataObject) -> None:
    branches = [source("one"), source("two")]
    fresh = [0]
    for _ in range(data.draw(st.integers(2, 10))):
        branch = data.draw(st.sampled_from([branches[-1], *branches]))
        branches.append(step(data.draw, branch, branches, fresh))
    sinks, expected = [], {}
    for number in range(data.draw(st.integers(1, 3))):
        branch = data.draw(st.sampled_from([branches[-1], *branches]))
        names = data.draw(st.lists(st.sampled_from(branch.names), min_size=1, unique=True))
        sinks.append(branch.stream.select(*names).write_memory(name=str(number)))
        expected[str(number)] = [{name: row[name] for name in names} for row in branch.rows]
    result = rows_of_sinks(fz.Pipeline("p", *sinks).plan)
    for name, rows in expected.items():
        assert sorted(result[name].to_pylist(), key=key) == sorted(rows, key=key)
