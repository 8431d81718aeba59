"""A look at a stream: bounded, and nothing is left behind."""

from pathlib import Path

import frazil as fz
import pytest
from frazil import col


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_head_gives_so_many_rows_and_leaves_nothing(folder: Path) -> None:
    stream = fz.read_generator(rows=50_000, seed=3).filter(col("amount") > 10).select("id", "user")
    table = stream.head(7)
    assert table.num_rows == 7
    assert table.schema == stream.schema
    assert table["id"].to_pylist() == stream.head(7)["id"].to_pylist()
    assert list(folder.iterdir()) == []


def test_head_of_less(folder: Path) -> None:
    assert fz.read_memory([{"id": 1}, {"id": 2}]).head(10).num_rows == 2


def test_head_without_end() -> None:
    assert fz.read_generator(seed=3).head(5).num_rows == 5


def test_functions_see_the_rows() -> None:
    @fz.udf
    def double(x: int) -> int:
        return 2 * x

    stream = fz.read_memory([{"id": 1}, {"id": 2}], schema={"id": int})
    assert stream.with_columns(d=double(col("id"))).head().to_pylist() == [
        {"id": 1, "d": 2},
        {"id": 2, "d": 4},
    ]


def test_a_raise_arrives_with_its_place() -> None:
    @fz.udf
    def inverse(x: int) -> float:
        return 1 / x

    stream = fz.read_memory([{"id": 1}, {"id": 0}], schema={"id": int})
    with pytest.raises(fz.UdfError) as caught:
        stream.with_columns(i=inverse(col("id"))).head()
    text = str(caught.value)
    assert "inverse raised ZeroDivisionError: division by zero" in text
    assert "row 2 of 2: a0=0" in text


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    fz.read_memory([{"id": 1, "user": "ada"}, {"id": 20, "user": None}]).show(2)
    assert capsys.readouterr().out == "id  user\n 1  ada\n20\n"


@pytest.mark.parametrize("rows", [0, -1, 10**9, "3"])
def test_mistakes(rows: int) -> None:
    with pytest.raises(fz.ConfigError, match="n="):
        fz.read_memory([{"id": 1}]).head(rows)


def test_runs(folder: Path) -> None:
    """A pipeline with every kind of step, two workers, several sinks."""
    stream = fz.read_generator(rows=20_000, seed=5, partitions=3)
    big = stream.filter(col("amount") > 10).with_columns(total=col("amount") * col("quantity"))
    both = big.select("id", "total").union(stream.select("id", total=col("amount")))
    sink, all_ids = both.write_memory(), stream.select("id").write_memory(name="ids")
    report = fz.Pipeline("p", sink, all_ids, workers=2).run(until="now", quiet=True)
    amounts = stream.select("amount").head(20_000)["amount"].to_pylist()
    assert report.sinks["memory"].rows == 20_000 + sum(amount > 10 for amount in amounts)
    assert sorted(all_ids.table()["id"].to_pylist()) == list(range(20_000))
