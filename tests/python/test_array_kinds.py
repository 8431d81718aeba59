"""Arrays of NumPy, polars and pandas in place of Arrow's, by annotation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import frazil as fz
import numpy as np
import pyarrow as pa
import pytest
from frazil import col
from frazil.array_kinds import array_kinds, given_as, taken_back
from frazil.errors import PlanError, UdfError
from numpy.typing import NDArray  # noqa: TC002  (annotations are evaluated)

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [{"n": n, "x": n / 2, "name": f"r{n}", "at": AT, "gap": None if n else 1} for n in range(5)]
STREAM = fz.read_memory(pa.Table.from_pylist(ROWS), name="rows")


def run(stream: fz.Stream, folder: Path) -> list[Any]:
    sink = stream.write_memory()
    fz.Pipeline("p", sink, checkpoint=str(folder)).run(until="now", quiet=True)
    return [row["y"] for row in sink.table().to_pylist()]


def of_numpy(a: np.ndarray, b: NDArray[np.float64], c: pa.Array, d) -> Any: ...  # type: ignore[no-untyped-def]
def of_texts(a: Any, b: Any, c: Any) -> Any: ...


# As if the libraries were imported for type checkers only.
of_texts.__annotations__ = {"a": "pl.Series", "b": "pd.Series", "c": "np.ndarray", "return": "X"}


def test_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert array_kinds(of_numpy) == ("numpy", "numpy", "arrow", "arrow")
    monkeypatch.setattr("importlib.import_module", lambda name: name)
    assert array_kinds(of_texts) == ("polars", "pandas", "numpy")


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(PlanError, match=r"(?s)a of of_texts\(\) is for polars.*pip install polars"):
        fz.batch_udf(returns=int)(of_texts)


def test_numpy(tmp_path: Path) -> None:
    @fz.batch_udf(returns=float)
    def both(n: np.ndarray, x: NDArray[np.float64]) -> Any:
        assert type(n) is type(x) is np.ndarray
        return n + x

    assert run(STREAM.select(y=both(col("n"), col("x"))), tmp_path / "1") == [
        1.5 * n for n in range(5)
    ]

    @fz.batch_udf(returns=datetime)
    def later(at: np.ndarray) -> Any:
        return at + np.timedelta64(1, "s")

    assert run(STREAM.select(y=later(col("at"))), tmp_path / "2") == [AT.replace(second=1)] * 5

    @fz.batch_udf(returns=str)
    def shout(name: np.ndarray) -> Any:
        return np.array([each.upper() for each in name], dtype=object)

    assert run(STREAM.select(y=shout(col("name"))), tmp_path / "3")[1] == "R1"


@pytest.mark.parametrize(
    ("returned", "column", "said"),
    [
        (lambda n: n, "gap", "argument 1 has nulls, and NumPy's arrays of int64 have none"),
        (lambda n: n / 2, "n", "returned double, and is declared to return int64"),
        (lambda n: n[:2], "n", "returned 2 values for 5 rows"),
        (lambda n: list(n), "n", "returned a list"),
    ],
)
def test_numpy_errors(
    returned: Callable[[Any], Any], column: str, said: str, tmp_path: Path
) -> None:
    @fz.batch_udf(returns=int)
    def called(n: np.ndarray) -> Any:
        return returned(n)

    with pytest.raises(UdfError, match=said):
        run(STREAM.select(y=called(col(column))), tmp_path)


# pyarrow imports pandas wherever that is installed, which costs 60 MB: the suite is run without.
@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_others_keep_types_and_nulls(kind: Any) -> None:
    pytest.importorskip(kind)
    for column in (
        pa.array([1, None, 3]),
        pa.array([0.5, None]),
        pa.array(["a", None, ""]),
        pa.array([True, None]),
        pa.array([AT, None], pa.timestamp("us", "UTC")),
    ):
        given = given_as(column, kind, "it")
        assert type(given).__module__.partition(".")[0] == kind
        assert taken_back(given, column.type).equals(column)
    numbers = given_as(pa.array([1, 2]), kind, "it")
    assert taken_back(numbers + 1, pa.int64()).equals(pa.array([2, 3]))
    assert taken_back(numbers / 2, pa.int64()).type == pa.float64()  # refused by who asks
