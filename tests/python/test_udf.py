"""Python functions: types at plan time, values at run time, errors that say where."""

import frazil as fz
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from frazil import col
from frazil.node import Function


@fz.udf
def shout(word: str) -> str:
    """Make it loud."""
    return word.upper()


@fz.udf(on_error="null")
def parse(word: str) -> int:
    return int(word)


@fz.batch_udf(returns=pa.float64())
def root(x: pa.Array) -> pa.Array:
    return pc.sqrt(x)


def words() -> fz.Stream:
    schema = {"word": str, "x": float, "note": pa.string()}
    return fz.read_files("w", format="json", schema=schema)


def functions(stream: fz.Stream) -> list[Function]:
    return list(fz.Pipeline("p", stream.write_memory()).plan.functions.values())


def test_columns_and_nodes() -> None:
    stream = words().with_columns(loud=shout(col("word")), r=root(col("x") * 2), n=parse("7"))
    assert stream.schema.names == ["word", "x", "note", "loud", "r", "n"]
    assert not stream.schema.field("loud").nullable
    assert stream.schema.field("n").nullable
    plan = fz.Pipeline("p", stream.write_memory()).plan
    nodes = [node for node in plan.json["nodes"] if node["kind"] == "udf"]
    assert [node["column"] for node in nodes] == ["__udf_0", "__udf_1", "__udf_2"]
    assert [node["function"].rpartition(":")[2] for node in nodes] == ["shout", "root", "parse"]
    assert set(plan.functions) == {node["function"] for node in nodes}
    assert all(plan.function_hashes.values())


def test_calls_nest_and_repeat() -> None:
    loud = shout(col("word"))
    stream = words().with_columns(a=shout(loud), b=loud)
    nodes = fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]
    assert [node["args"] for node in nodes if node["kind"] == "udf"] == [
        [{"col": "word"}],
        [{"col": "__udf_0"}],
    ]
    project = next(node for node in nodes if node["kind"] == "project")
    assert dict(map(tuple, project["columns"]))["a"] == {"col": "__udf_1"}
    assert dict(map(tuple, project["columns"]))["b"] == {"col": "__udf_0"}


def test_filter_keeps_the_columns() -> None:
    stream = words().filter(shout(col("word")) == "A")
    assert stream.schema.names == ["word", "x", "note"]
    kinds = [n["kind"] for n in fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]]
    assert kinds == ["source", "udf", "filter", "project", "sink"]


def test_decorated_functions_keep_what_they_are() -> None:
    assert shout.function("a") == "A"
    assert shout.__doc__ == "Make it loud."
    assert repr(shout(col("word"))) == "shout(word)"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: words().with_columns(a=shout(col("x"))), r"shout\(x\): argument 1 is double"),
        (lambda: words().with_columns(a=shout(col("note"))), "does not take None"),
        (lambda: words().with_columns(a=shout(col("nope"))), "no column 'nope'"),
        (lambda: shout(), r"it takes shout\(word\)"),
        (lambda: shout(col("a"), col("b")), r"shout\(\) got 2 columns"),
        (lambda: fz.udf(lambda x: x), "does not say what it returns"),
        (lambda: fz.udf(on_error="drop")(len), "on_error='drop'|returns"),
        (lambda: fz.batch_udf(returns=complex), "no column type"),
        (lambda: fz.batch_udf(returns=int)(3), "no function|callable"),
    ],
)
def test_mistakes(make, text: str) -> None:
    with pytest.raises((fz.PlanError, TypeError), match=text):
        make()


def test_asynchronous_functions_are_refused() -> None:
    async def later(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    with pytest.raises(fz.PlanError, match="asynchronous"):
        words().map_batches(later, schema={"a": int})  # type: ignore[arg-type]


def test_two_functions_of_one_name_are_refused() -> None:
    stream = words()
    sinks = [
        stream.map_batches(lambda b: b, schema={"word": str}).write_memory(name="a"),
        stream.map_batches(lambda b: b, schema={"word": str}).write_memory(name="b"),
    ]
    with pytest.raises(fz.PlanError, match="two functions are called"):
        fz.Pipeline("p", *sinks)


def test_one_function_with_two_results() -> None:
    def same(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    stream = words()
    plan = fz.Pipeline(
        "p",
        stream.map_batches(same, schema={"word": str}).write_memory(name="a"),
        stream.map_batches(same, schema={"x": float}).write_memory(name="b"),
    ).plan
    assert sorted(made.returns.names for made in plan.functions.values()) == [["word"], ["x"]]
    assert len({node.get("function") for node in plan.json["nodes"]}) == 3


def call(function: fz.Udf, *columns: list) -> list:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(column) for column in columns], [f"a{i}" for i in range(len(columns))]
    )
    result = pa.record_batch(function._made(batch))
    assert result.num_columns == 1
    return result.column(0).to_pylist()


def test_running() -> None:
    assert call(shout, ["a", "b"]) == ["A", "B"]
    assert call(parse, ["1", "x", "3"]) == [1, None, 3]
    assert call(root, [4.0, 9.0]) == [2.0, 3.0]
    assert call(shout, pa.array([], pa.string())) == []


def test_a_raise_names_the_function_the_line_and_the_values() -> None:
    @fz.udf
    def inverse(x: int, word: str) -> float:
        return 1 / x

    with pytest.raises(fz.UdfError) as caught:
        call(inverse, [1, 0, 2], ["a", "b", "c"])
    text = str(caught.value)
    assert "inverse raised ZeroDivisionError: division by zero" in text
    assert "test_udf.py:" in text
    assert "row 2 of 3: a0=0, a1='b'" in text
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_wrong_results() -> None:
    @fz.udf
    def text(x: int) -> int:
        return "no"  # type: ignore[return-value]

    @fz.udf
    def none(x: int) -> int:
        return None if x == 2 else x  # type: ignore[return-value]

    @fz.batch_udf(returns=pa.int64())
    def short(x: pa.Array) -> pa.Array:
        return x[:1]

    @fz.batch_udf(returns=pa.int64())
    def other(x: pa.Array) -> pa.Array:
        return x.cast(pa.int32())

    @fz.batch_udf(returns=pa.int64())
    def listed(x: pa.Array) -> list[int]:
        return [1, 2]

    for function, expected in [
        (text, "returned 'no', and is declared to return int64"),
        (none, "returned None, and declares int64"),
        (short, "returned 1 values for 2 rows"),
        (other, "returned int32, and is declared to return int64"),
        (listed, "returned a list"),
    ]:
        with pytest.raises(fz.UdfError, match=expected):
            call(function, [1, 2])  # type: ignore[arg-type]


def test_map_batches_checks_each_batch() -> None:
    batch = pa.record_batch({"a": [1, None]})

    def check(result: object, schema: dict) -> pa.RecordBatch:
        def give(batch: pa.RecordBatch) -> pa.RecordBatch:
            return result  # type: ignore[return-value]

        (made,) = functions(words().map_batches(give, schema=schema))
        return made(batch)

    assert check(batch, {"a": pa.int64()}).equals(batch)
    assert check(pa.table(batch), {"a": pa.int64()}).num_rows == 2
    for result, schema, expected in [
        (3, {"a": pa.int64()}, "returned a int"),
        (batch, {"b": pa.int64()}, "returned no column 'b'"),
        (batch, {"a": pa.int32()}, "returned column 'a' as int64"),
        (batch, {"a": int}, "returned nulls in column 'a'"),
        (pa.record_batch({"a": [1], "b": [1]}), {"a": pa.int64()}, "not declared: b"),
    ]:
        with pytest.raises(fz.UdfError, match=expected):
            check(result, schema)


def apart(function: fz.Udf, *columns: list) -> tuple[list, dict[int, str]]:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(column) for column in columns], [f"a{i}" for i in range(len(columns))]
    )
    [given] = function._made(batch).to_pylist()
    rows = [next(iter(row.values())) for row in given["rows"]]
    return rows, {each["row"]: each["reason"] for each in given["failed"]}


def test_rows_that_fail_are_told_apart() -> None:
    @fz.udf(on_error="divert")
    def inverse(x: int) -> float:
        return 1 / x

    @fz.udf(on_error="drop")
    def small(x: int) -> fz.Int32:  # type: ignore[valid-type]
        return None if x == 2 else x  # type: ignore[return-value]

    calls = []

    @fz.batch_udf(returns=pa.int64(), nullable=False, on_error="divert")
    def column(x: pa.Array) -> pa.Array:
        calls.append(len(x))
        if 0 in x.to_pylist():
            raise LookupError
        return pc.if_else(pc.equal(x, 5), None, x)

    rows, failed = apart(inverse, [1, 0, 2])
    assert rows == [1.0, None, 0.5]
    here = f"{inverse._made.reference} raised ZeroDivisionError: division by zero (test_udf.py:"
    assert failed[1].startswith(here)
    assert apart(inverse, [4]) == ([0.25], {})
    rows, failed = apart(small, [1, 2, 2**40, 4])
    assert rows == [1, None, None, 4]
    assert "returned None, and declares int32" in failed[1]
    assert f"returned {2**40}, and is declared to return int32" in failed[2]
    rows, failed = apart(column, [1, 2, 0, 4, 5, 6, 7, 8])
    assert rows == [1, 2, None, 4, None, 6, 7, 8]
    assert failed[2].startswith(f"{column._made.reference} raised LookupError (test_udf.py:")
    assert "returned None" in failed[4]
    assert calls == [8, 4, 2, 2, 1, 1, 4]
    # A reason has a bound, whatever the exception says.
    reason = apart(long_text, ["x"])[1][0]
    assert len(reason.encode()) <= 1_000
    assert reason.endswith("...")


@fz.udf(on_error="divert")
def long_text(x: str) -> str:
    raise ValueError("\ud800 \u00fc" * 2_000)


def test_rows_that_fail_of_a_function_of_numpy_arrays() -> None:
    @fz.batch_udf(returns=pa.int64(), on_error="drop")
    def twice(x: np.ndarray) -> np.ndarray:
        return x * 2

    rows, failed = apart(twice, [1, None, 3])
    assert rows == [2, None, 6]
    assert "has nulls, and NumPy's arrays of int64 have none" in failed[1]


def test_what_is_not_about_a_row_ends_the_run() -> None:
    @fz.batch_udf(returns=pa.int64(), on_error="divert")
    def other(x: pa.Array) -> pa.Array:
        return x.cast(pa.int32())

    with pytest.raises(fz.UdfError, match="returned int32"):
        apart(other, [1, 2])
    with pytest.raises(fz.PlanError, match="called again with parts"):
        fz.batch_udf(returns=int, pure=False, on_error="drop")
    with pytest.raises(fz.PlanError, match="map_batches: on_error='divert' and pure=False"):
        words().map_batches(lambda b: b, schema={"a": int}, pure=False, on_error="divert")
    with pytest.raises(fz.PlanError, match="on_error='null' is not offered"):
        words().map_batches(lambda b: b, schema={"a": int}, on_error="null")  # type: ignore[arg-type]


def test_failed_rows_belong_to_a_function() -> None:
    @fz.udf(on_error="divert")
    def loud(word: str) -> str:
        return word.upper()

    stream = words().with_columns(a=loud(col("word")))
    assert stream.failed.schema.names[:3] == ["source", "partition", "position"]
    assert words().filter(loud(loud(col("word"))) == "A").failed.schema == stream.failed.schema
    for other in (words(), stream.select("a"), stream.failed, words().with_columns(b=shout("x"))):
        with pytest.raises(fz.PlanError, match="failed rows belong to a step"):
            _ = other.failed
    text = fz.Pipeline("p", stream.write_memory(), stream.failed.write_memory(name="f")).explain()
    assert "failed rows of call loud(word)" in text
    assert "rows for which it raises are set aside" in text
    # They have all columns; if nobody takes them, no more are read than are needed.
    sinks = [stream.select("a").write_memory(), stream.failed.write_memory(name="f")]
    whole = fz.Pipeline("p", *sinks)
    assert next(n for n in whole.plan.json["nodes"] if n["kind"] == "udf")["given"] == [
        "word", "x", "note",
    ]  # fmt: skip
    alone = fz.Pipeline("p", stream.select("a").write_memory())
    [node] = [n for n in alone.plan.json["nodes"] if n["kind"] == "udf"]
    assert node["on_error"] == "drop"
