"""Runs a plan's JSON in one go, with the engine's expressions only: an oracle for plans.

Windows have count, sum, min and max of tumbling windows, and no row is late.

It takes nothing from the streams the plan was made of, so a column that was pruned by mistake is
missing here too.
"""

import base64
import json
from typing import Any

import pyarrow as pa
from frazil import _engine
from frazil.plan import Plan


def schema_of(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def evaluate(expression: Any, batch: pa.RecordBatch) -> pa.Array:
    carried = _engine.eval_expr(json.dumps(expression), batch)
    return pa.record_batch(carried).column(0)


def rows_of_sinks(plan: Plan) -> dict[str, pa.RecordBatch]:
    """The rows each sink gets, by the name of the sink."""
    outputs: dict[str, pa.RecordBatch] = {}
    sinks = {}
    for node in json.loads(plan.text)["nodes"]:
        if node["kind"] == "sink":
            sinks[node["name"]] = outputs["/".join(node["input"])]
            assert sinks[node["name"]].schema.names == schema_of(node["schema"]).names
        else:
            outputs[f"{node['id']}/rows"] = run_node(node, outputs, plan)
            if node["kind"] == "window_partial":
                outputs[f"{node['id']}/late"] = late_rows(outputs["/".join(node["input"])])
    return sinks


def run_node(node: Any, outputs: dict[str, pa.RecordBatch], plan: Plan) -> pa.RecordBatch:
    if node["kind"] == "source":
        return run_source(node)
    if node["kind"] == "union":
        names = schema_of(node["schema"]).names
        batches = [outputs["/".join(upstream)] for upstream in node["inputs"]]
        assert all(batch.schema.names == names for batch in batches)
        fields = schema_of(node["schema"])
        return whole([pa.RecordBatch.from_arrays(b.columns, schema=fields) for b in batches])
    batch = outputs["/".join(node["input"])]
    match node["kind"]:
        case "filter":
            return batch.filter(evaluate(node["predicate"], batch))
        case "project":
            columns = [evaluate(expression, batch) for _, expression in node["columns"]]
            return pa.RecordBatch.from_arrays(columns, [name for name, _ in node["columns"]])
        case "udf":
            arguments = [evaluate(argument, batch) for argument in node["args"]]
            names = [str(number) for number in range(len(arguments))]
            made = plan.functions[node["function"]](pa.RecordBatch.from_arrays(arguments, names))
            return batch.append_column(node["column"], made.column(0))
        case "map_batches":
            return plan.functions[node["function"]](batch)
        case "event_time":
            assert pa.types.is_timestamp(batch.schema.field(node["column"]).type)
            return batch
        case "window_partial":
            return windowed(node, batch)
        case "window_aggregate":
            return aggregated(node, batch)
        case "exchange":
            assert set(node["keys"]) <= set(batch.schema.names)
            return batch
    raise AssertionError(node["kind"])


def windowed(node: Any, batch: pa.RecordBatch) -> pa.RecordBatch:
    """What an aggregate needs of each row, and no column more."""
    times = batch.column(node["time"]["column"]).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    size = node["window"]["size_us"]
    made = {name: batch.column(name) for name in node["keys"]}
    starts = [(time - node["time"]["minus_us"]) // size * size for time in times.to_pylist()]
    made["window_start"] = pa.array(starts, pa.int64())
    for one in node["aggregates"]:
        (value,) = [evaluate(arg, batch) for arg in one["args"]] or [pa.array(starts, pa.int64())]
        kept = evaluate(one["filter"], batch).to_pylist() if one["filter"] else [True] * len(value)
        chosen = [v if keep else None for v, keep in zip(value.to_pylist(), kept, strict=True)]
        made[one["name"]] = pa.array(chosen, value.type)
    return pa.RecordBatch.from_pydict(made)


FUNCTIONS = {
    "count": len,
    "sum": lambda values: sum(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}


def aggregated(node: Any, batch: pa.RecordBatch) -> pa.RecordBatch:
    groups: dict[Any, list[Any]] = {}
    for row in batch.to_pylist():
        by = (*(row[name] for name in node["keys"]), row["window_start"])
        groups.setdefault(by, []).append(row)
    rows = []
    for by, members in groups.items():
        made = [*by, by[-1] + node["window"]["size_us"]]
        for one in node["aggregates"]:
            values = [row[one["name"]] for row in members if row[one["name"]] is not None]
            made.append(FUNCTIONS[one["fn"]](values))
        rows.append(made)
    schema = schema_of(node["schema"])
    assert schema.names[: len(node["keys"])] == node["keys"]
    columns = [
        pa.array([row[number] for row in rows], pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array([row[number] for row in rows], field.type)
        for number, field in enumerate(schema)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def late_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    time = pa.timestamp("us", "UTC")
    added = {
        "window_start": time,
        "window_end": time,
        "watermark": time,
        "partition": pa.string(),
        "position": pa.int64(),
    }
    fields = [*batch.schema, *(pa.field(name, type_) for name, type_ in added.items())]
    return pa.RecordBatch.from_pylist([], schema=pa.schema(fields))


def run_source(node: Any) -> pa.RecordBatch:
    names = schema_of(node["schema"]).names
    parts = [
        batch
        for text in node["options"]["partitions"]
        for batch in pa.ipc.open_stream(base64.b64decode(text)).read_all().to_batches()
    ]
    return whole(parts).select(names)


def whole(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).combine_chunks()
    return pa.RecordBatch.from_arrays(
        [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table],
        schema=table.schema,
    )
