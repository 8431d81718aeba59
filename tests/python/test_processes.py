"""Functions in processes of their own give the same, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col
from frazil.node import Function
from frazil.processes import call as process_call
from frazil.processes.call import ProcessCall
from frazil.udf_call import run

from tests.python import process_functions as given

Make = Callable[[Function], ProcessCall]


@pytest.fixture(scope="module")
def make() -> Iterator[Make]:
    """Makes calls, one of each function, and ends their processes."""
    made: dict[str, ProcessCall] = {}

    def one(function: Function) -> ProcessCall:
        if function.reference not in made:
            made[function.reference] = ProcessCall(function)
        return made[function.reference]

    yield one
    for each in made.values():
        each.close()


def caller(call: ProcessCall) -> Callable[..., list[int]]:
    def acted(*what: str) -> list[int]:
        batch = pa.record_batch({"a0": list(what), "a1": list(range(len(what)))})
        return call(batch).column(0).to_pylist()

    return acted


@pytest.fixture
def act(make: Make) -> Callable[..., list[int]]:
    return caller(make(given.act._made))


@pytest.fixture
def hasty(make: Make) -> Callable[..., list[int]]:
    return caller(make(given.hasty._made))


def map_batches(on_error: str) -> Function:
    stream = fz.read_memory([{"id": 1}]).map_batches(
        given.doubled, schema={"id": pa.int64()}, workers=2, on_error=on_error
    )
    [made] = fz.Pipeline("p", stream.write_memory()).plan.functions.values()
    return made


def draw_words(rng: Random, rows: int) -> pa.RecordBatch:
    numbers = [rng.choice([None, rng.randrange(20)]) for _ in range(rows)]
    words = [rng.choice(["", "ice", "frazil\u00fc"]) for _ in range(rows)]
    return pa.record_batch({"a0": pa.array(numbers, pa.int64()), "a1": words})


def draw_numbers(rng: Random, rows: int) -> pa.RecordBatch:
    return pa.record_batch({"a0": pa.array([rng.randrange(20) for _ in range(rows)], pa.int64())})


def draw_texts(rng: Random, rows: int) -> pa.RecordBatch:
    return pa.record_batch({"a0": [rng.choice(["1", "x", "22"]) for _ in range(rows)]})


def draw_floats(rng: Random, rows: int) -> pa.RecordBatch:
    return pa.record_batch({"a0": [rng.random() for _ in range(rows)]})


def draw_ids(rng: Random, rows: int) -> pa.RecordBatch:
    return draw_numbers(rng, rows).rename_columns(["id"])


@pytest.mark.parametrize(
    ("function", "draw"),
    [
        (given.thrice._made, draw_words),
        (given.thrice_in_one._made, draw_words),
        (given.inverse._made, draw_numbers),
        (given.parsed._made, draw_texts),
        (given.root._made, draw_floats),
        (given.not_seven._made, draw_numbers),
        (map_batches("divert"), draw_ids),
    ],
    ids=lambda each: each.reference.rpartition(":")[2] if isinstance(each, Function) else "",
)
def test_the_same_as_in_this_process(function: Function, draw: Any, make: Make) -> None:
    """Values, order, and which rows fail for which reason; in batches of any size."""
    rng = Random(3)
    call = make(function)
    for rows in (0, 1, 2, 3, 7, *(rng.randrange(200) for _ in range(6))):
        batch = draw(rng, rows + 5).slice(2, rows)  # not from the beginning of its buffers
        assert call(batch).equals(run(function, batch)), rows


def test_an_error_names_the_row_of_the_batch(act: Callable[..., list[int]]) -> None:
    assert act("", "", "") == [0, 1, 2]
    with pytest.raises(fz.UdfError) as caught:
        act("", "", "", "raise", "text")
    lines = str(caught.value).splitlines()
    assert "process_functions:act raised ValueError: no 3 (" in lines[0]
    assert "process_functions.py:" in lines[0]
    assert lines[1] == "  row 4 of 5: a0='raise', a1=3"
    with pytest.raises(fz.UdfError, match=r"(?s)returned 'no', and is declared.*row 3 of 3: a0='t"):
        act("", "", "text")
    with pytest.raises(fz.UdfError, match=r"(?s)raised SystemExit: 3.*row 2 of 2: a0='exit'"):
        act("", "exit")
    assert act("", "", "") == [0, 1, 2]


def test_the_first_of_several_errors_is_told(hasty: Callable[..., list[int]]) -> None:
    """Though the second part of the batch fails long before the first."""
    with pytest.raises(fz.UdfError, match="row 1 of 2: a0='wait'"):
        hasty("wait", "raise")


def test_a_wrong_column(make: Make) -> None:
    call = make(given.column._made)
    with pytest.raises(fz.UdfError, match="returned 3 values for 4 rows"):
        call(pa.record_batch({"a0": [0, 0, 1, 1]}))
    with pytest.raises(fz.UdfError, match="returned double, and is declared to return int64"):
        call(pa.record_batch({"a0": [2, 2]}))


def test_a_call_that_takes_too_long_is_ended(hasty: Callable[..., list[int]]) -> None:
    before = set(hasty("pid", "pid"))
    with pytest.raises(fz.UdfError) as caught:
        hasty("", "", "wait", "")
    what, row, stack, todo = str(caught.value).splitlines()
    assert what.endswith("process_functions:hasty took longer than timeout=1s")
    assert row == "  row 3 of 4: a0='wait', a1=2"
    assert "called by _wait (process_functions.py:" in stack
    assert ", called by act (process_functions.py:" in stack
    assert "timeout=" in todo
    assert hasty("", "", "") == [0, 1, 2]
    assert len(before) == 2
    assert len(before & set(hasty("pid", "pid"))) == 1


def test_a_process_that_is_killed_is_started_again(
    act: Callable[..., list[int]], tmp_path: Path
) -> None:
    assert act("", "", f"kill {tmp_path / 'once'}", "") == [0, 1, 2, 3]
    assert (tmp_path / "once").exists()
    # One that nobody uses at the time.
    [idle] = act("pid")
    os.kill(idle, signal.SIGKILL)
    assert act("", "") == [0, 1]
    assert not Path(f"/proc/{idle}").exists()


def test_rows_that_end_every_process(
    act: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_call, "DEATHS_MAX", 2)
    with pytest.raises(fz.UdfError) as caught:
        act("", "", "", "end")
    what, row, *_ = str(caught.value).splitlines()
    assert "act: its process ended with exit code 7, as did 1 before it with the same rows" in what
    assert row == "  row 4 of 4: a0='end', a1=3"


def test_a_function_that_forks(act: Callable[..., list[int]]) -> None:
    """The other process says nothing, and ends."""
    assert act("fork", "", "fork", "") == [0, 1, 2, 3]
    assert act("", "", "") == [0, 1, 2]


def test_a_function_that_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_call, "LEAK_BYTES", 50 << 20)
    call = ProcessCall(given.act._made)
    try:
        assert [caller(call)("leak")[0] for _ in range(3)] == [1, 2, 1]
    finally:
        call.close()


def test_rows_that_do_not_fit(make: Make) -> None:
    """Less of them at a time, down to one."""
    call = make(given.long._made)
    sizes = [10, 30 << 20, 30 << 20, 30 << 20, 0]
    result = call(pa.record_batch({"a0": sizes})).column(0)
    assert [len(value) for value in result.to_pylist()] == sizes
    with pytest.raises(fz.UdfError, match=r"\d+ bytes of one row come from .*:long"):
        call(pa.record_batch({"a0": [1, 65 << 20, 1]}))
    with pytest.raises(fz.UdfError, match=r"\d+ bytes of one row are given to"):
        make(given.parsed._made)(pa.record_batch({"a0": ["x" * (65 << 20)]}))


def test_what_is_kept_of_an_answer_stays(make: Make) -> None:
    call = make(given.thrice_in_one._made)
    first = call(pa.record_batch({"a0": [1], "a1": ["a"]}))
    call(pa.record_batch({"a0": [2], "a1": ["b"]}))
    assert first.column(0).to_pylist() == ["1:aaa"]


def test_what_other_processes_cannot_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fz.PlanError, match="finds a function by its module and name"):

        @fz.udf(workers=2)
        def inside(n: int) -> int:
            return n

    with pytest.raises(fz.PlanError, match="timeout='1s' without workers="):
        fz.udf(timeout="1s")(given.plain)
    with pytest.raises(fz.PlanError, match="workers=-1"):
        fz.batch_udf(returns=int, workers=-1)(given.doubled)
    with pytest.raises(fz.PlanError, match="is too long"):
        fz.batch_udf(returns=int, workers=1, timeout="2d")(given.doubled)
    numbers = fz.read_memory([{"n": 1}]).with_columns(m=given.shadowed(col("n")))
    with pytest.raises(fz.PlanError, match=r"is not what stands in .*process_functions"):
        fz.Pipeline("p", numbers.write_memory(), checkpoint=str(tmp_path)).run(until="now")


def test_a_pipeline_is_not_started_by_the_import_of_a_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("frazil.processes._in_child", True)
    pipeline = fz.Pipeline("p", fz.read_memory([{"n": 1}]).write_memory())
    for start in (pipeline.run, pipeline.start):
        with pytest.raises(fz.PlanError, match='if __name__ == "__main__":'):
            start(until="now")


def test_explain_says_it() -> None:
    words = fz.read_memory([{"n": 1, "word": "a"}])
    text = fz.Pipeline(
        "p",
        words.with_columns(a=given.hasty(col("word"), col("n"))).write_memory(),
    ).explain()
    assert "in Python, a call a row, in 2 processes, up to 1s a call" in text
    stream = words.map_batches(given.doubled, schema={"id": int}, workers=1)
    assert "a call a batch, in 1 process" in fz.Pipeline("p", stream.write_memory()).explain()
    other = words.map_batches(given.doubled, schema={"id": int}, workers=2)
    with pytest.raises(fz.PlanError, match="has other workers= or timeout= in another step"):
        _ = fz.Pipeline("p", stream.write_memory(name="a"), other.write_memory(name="b")).plan
