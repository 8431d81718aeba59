"""The benchmark's harness, at a size that measures nothing."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def run_bench(tmp_path, monkeypatch):
    """Run `python -m bench` with an empty cache folder; gives its exit code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from bench.__main__ import main

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        return main()

    return run


def test_w1_writes_a_checked_result(run_bench, tmp_path, capsys):
    out = tmp_path / "w1.json"
    assert run_bench("w1", "--events", "2000", "--runs", "1", "--json", str(out)) == 0
    (result,) = json.loads(out.read_text())
    assert (result["system"], result["workload"], result["events"]) == ("frazil", "w1-file", 2000)
    assert result["rows_ok"] is True
    assert result["peak_mb"] > 0
    assert {"cpu_s_per_million", "events_per_s"} <= result.keys()
    assert "frazil" in capsys.readouterr().out
    assert not list((tmp_path / "cache" / "frazil" / "bench" / "scratch").iterdir())


def test_unfit_peers_are_refused(run_bench, capsys):
    assert run_bench("w1", "--peers", "flink") == 2
    assert "no peer is called flink" in capsys.readouterr().err
    assert run_bench("w1", "--source", "kafka", "--peers", "duckdb") == 2


def test_a_changed_row_is_noticed(tmp_path, monkeypatch):
    """The check of results must be able to fail."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from bench import events, truth

    path = events.event_file(500)
    rows = pa.Table.from_batches(truth.kept_rows(path))
    times = (rows["ts"].to_numpy() * 1000).astype("datetime64[us]")
    rows = rows.set_column(1, "ts", pa.array(times))
    good, lost, doubled = (tmp_path / f"{name}.parquet" for name in ("good", "lost", "doubled"))
    pq.write_table(rows, good)
    pq.write_table(rows.slice(1), lost)
    pq.write_table(rows.slice(0, 1), doubled)
    assert truth.found([good]) == truth.expected(path)
    assert truth.found([lost]) != truth.expected(path)
    assert truth.found([good, doubled]) != truth.expected(path)
    assert truth.found([lost, doubled]) == truth.expected(path)
