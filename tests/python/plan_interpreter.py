"""Runs a plan's JSON in one go, with the engine's expressions only: an oracle for plans.

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
            sinks[node["name"]] = outputs[node["input"][0]]
            assert sinks[node["name"]].schema.names == schema_of(node["schema"]).names
        else:
            outputs[node["id"]] = run_node(node, outputs, plan)
    return sinks


def run_node(node: Any, outputs: dict[str, pa.RecordBatch], plan: Plan) -> pa.RecordBatch:
    if node["kind"] == "source":
        return run_source(node)
    if node["kind"] == "union":
        names = schema_of(node["schema"]).names
        batches = [outputs[upstream] for upstream, _ in node["inputs"]]
        assert all(batch.schema.names == names for batch in batches)
        fields = schema_of(node["schema"])
        return whole([pa.RecordBatch.from_arrays(b.columns, schema=fields) for b in batches])
    batch = outputs[node["input"][0]]
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
        case "exchange":
            assert set(node["keys"]) <= set(batch.schema.names)
            return batch
    raise AssertionError(node["kind"])


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
