"""Aggregates of Python classes: types where they are written, and what errors say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import frazil as fz
import pytest
from frazil import col
from frazil.errors import PlanError, TypeMismatch, UdfError

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [{"user": "ada", "n": 1, "at": AT}, {"user": "bob", "n": 3, "at": AT}]
EVENTS = fz.read_memory(ROWS, name="events").event_time("at", out_of_order="10s")


class Sum:
    def create(self) -> int:
        return 0

    def add(self, state: int, n: int) -> int:
        return state + n

    def merge(self, state: int, other: int) -> int:
        return state + other

    def finish(self, state: int) -> float:
        return float(state)


total = fz.aggregate(Sum)


class NoMerge:
    def create(self) -> int: ...
    def add(self, state: int, n: int) -> int: ...
    def finish(self, state: int) -> int: ...


class NoState(Sum):
    def create(self):  # type: ignore[no-untyped-def]
        return 0


class NullState(Sum):
    def create(self) -> int | None:  # type: ignore[override]
        return None


class NoColumn(Sum):
    def add(self, state: int) -> int:  # type: ignore[override]
        return state


class OddState(Sum):
    def create(self) -> object:  # type: ignore[override]
        return 0


class ManyColumns(Sum):
    def add(self, state: int, *n: int) -> int:
        return state


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda: fz.aggregate(len), TypeMismatch, r"has no create\(\)"),
        (lambda: fz.aggregate(NoMerge), TypeMismatch, r"has no merge\(\).*create, add, merge"),
        (lambda: fz.aggregate(NoState), PlanError, r"NoState.create\(\) does not say"),
        (lambda: fz.aggregate(NullState), PlanError, r"NullState.create\(\) may give None"),
        (lambda: fz.aggregate(NoColumn), PlanError, r"NoColumn.add\(\) takes no column"),
        (lambda: fz.aggregate(OddState), PlanError, "object says too little"),
        (lambda: fz.aggregate(ManyColumns), PlanError, "only positional parameters"),
        (lambda: total(), PlanError, r"Sum\(\) got 0 columns.*Sum\(n\)"),
        (
            lambda: EVENTS.group_by().agg(x=total(col("user"))),
            TypeMismatch,
            r"Sum\(user\): n is string.*annotated with int64",
        ),
        (lambda: EVENTS.select(x=total(col("n"))), PlanError, "is an aggregate, and here"),
        (
            lambda: EVENTS.group_by("user").agg(n=fz.count()).group_by().agg(x=total(col("n"))),
            PlanError,
            "cannot take a row back",
        ),
    ],
)
def test_refused_where_it_is_written(
    write: Callable[[], object], error: type[PlanError], said: str
) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        write()


def test_columns_and_explained(tmp_path: Path) -> None:
    asked = total(col("n") * 2).filter(col("user") == "ada")
    stream = EVENTS.group_by("user").window(fz.tumbling("1m")).agg(x=asked, half=asked / 2)
    assert str(stream.schema.field("x").type) == "double"
    assert not stream.schema.field("x").nullable
    pipeline = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path))
    assert "aggregate batches by key and window" in pipeline.explain()
    assert "in Python: Sum((n * 2)).filter((user == 'ada'))" in pipeline.explain()
    assert list(pipeline.plan.functions) == [f"{__name__}:Sum"]


def test_two_runs_have_their_own(tmp_path: Path) -> None:
    """Classes of one name in one process."""
    found = []
    for factor in (1, 10):

        class Scaled(Sum):
            by = factor

            def finish(self, state: int) -> float:
                return float(state * self.by)

        sink = EVENTS.group_by().agg(x=fz.aggregate(Scaled)(col("n"))).write_memory()
        pipeline = fz.Pipeline("p", sink, checkpoint=str(tmp_path / str(factor)))
        pipeline.run(until="now", quiet=True)
        found += [row["x"] for row in sink.table().to_pylist()]
    assert found == [4.0, 40.0]


@pytest.mark.parametrize(
    ("method", "does", "said"),
    [
        ("create", lambda: 1 / 0, "create raised ZeroDivisionError"),
        ("add", lambda *_: sys.exit(3), r"add raised SystemExit: 3 \(.*on [13]"),
        ("add", lambda *_: "x", r"add returned 'x'.*declared to return int64"),
        ("add", lambda *_: None, "add raised UdfError: it returned None"),
        ("finish", lambda *_: 1 / 0, r"finish raised ZeroDivisionError.*on [134]"),
        ("finish", lambda *_: "x", r"finish returned 'x'.*declared to return double"),
        ("finish", lambda *_: None, "finish returned None"),
    ],
)
def test_errors(method: str, does: Callable[..., Any], said: str, tmp_path: Path) -> None:
    class Failing(Sum):
        pass

    def failing(self: Any, *args: Any) -> Any:
        return does(*args)

    failing.__annotations__ = getattr(Sum, method).__annotations__
    if method == "add":
        failing.__signature__ = __import__("inspect").signature(Sum.add)  # type: ignore[attr-defined]
    setattr(Failing, method, failing)
    stream = EVENTS.group_by("user").agg(x=fz.aggregate(Failing)(col("n")))
    pipeline = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path))
    with pytest.raises(UdfError, match=f"(?s){said}"):
        pipeline.run(until="now", quiet=True)
