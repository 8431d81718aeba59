"""The benchmark's harness, at a size that measures nothing."""

import json
import math
import sys

import numpy as np
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


@pytest.mark.parametrize("workload", ["w1", "w2", "w3"])
def test_a_workload_writes_a_checked_result(workload, run_bench, tmp_path, capsys):
    out = tmp_path / "result.json"
    assert run_bench(workload, "--events", "2000", "--runs", "1", "--json", str(out)) == 0
    (result,) = json.loads(out.read_text())
    assert (result["system"], result["workload"], result["events"]) == (
        "frazil",
        f"{workload}-file",
        2000,
    )
    assert result["rows_ok"] is True
    assert result["peak_mb"] > 0
    assert {"cpu_s_per_million", "events_per_s"} <= result.keys()
    assert "frazil" in capsys.readouterr().out
    assert not list((tmp_path / "cache" / "frazil" / "bench" / "scratch").iterdir())


@pytest.mark.parametrize("workload", ["w1", "w2", "w3", "totals"])
def test_functions_of_python_give_the_same_rows(workload, run_bench, tmp_path):
    out = tmp_path / "result.json"
    asked = ("--workload", workload, "--events", "2000", "--runs", "1", "--json", str(out))
    assert run_bench("udf", *asked) == 0
    results = json.loads(out.read_text())
    from bench.__main__ import OWN

    assert [each["system"] for each in results] == OWN[workload]
    assert len(results) > 1
    assert all(each["rows_ok"] for each in results)


def test_unfit_peers_are_refused(run_bench, capsys):
    assert run_bench("w1", "--peers", "spark") == 2
    assert "no peer is called spark" in capsys.readouterr().err
    assert run_bench("w1", "--source", "kafka", "--peers", "duckdb") == 2
    assert run_bench("w2", "--peers", "bytewax") == 2
    assert "bytewax does not run w2" in capsys.readouterr().err
    assert run_bench("w2", "--source", "kafka", "--peers", "flink") == 2
    assert "flink gives other rows for w2 from kafka: Flink goes by" in capsys.readouterr().err


def test_a_changed_row_is_noticed(tmp_path, monkeypatch):
    """The check of results must be able to fail."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from bench import events
    from bench.truth import TRUTHS

    path = events.event_file(500)
    for truth in TRUTHS.values():
        rows = pa.Table.from_batches(truth.rows(path, 1))
        good, lost, doubled = (tmp_path / f"{name}.parquet" for name in ("good", "lost", "doubled"))
        pq.write_table(rows, good)
        pq.write_table(rows.slice(1), lost)
        pq.write_table(rows.slice(0, 1), doubled)
        for exact in (True, False):
            right = truth.expected(path, exact=exact)
            assert truth.found([good], exact=exact) == right
            assert truth.found([lost], exact=exact) != right
            assert truth.found([good, doubled], exact=exact) != right
            assert truth.found([lost, doubled], exact=exact) == right


def test_late_rows_and_sums_of_the_truth(tmp_path):
    """Of two partitions, and where plain sums of doubles are not exact."""
    from bench.truth.truth import NEVER, watermarks
    from bench.truth.w2 import MINUTE_MS, W2, exact_sums

    time = np.array([5_000, 1_000, 4_000, 9_000, 20_000, 1_000])
    assert watermarks(time, 1, 2_000).tolist() == [NEVER, 3_000, 3_000, 3_000, 7_000, 18_000]
    assert watermarks(time, 2, 2_000).tolist() == [NEVER, NEVER, 3_000, -1_000, 3_000, 7_000]
    tenths = np.array([0.1] * 10 + [1e9, 0.05, 0.03])
    assert exact_sums(tenths, np.array([0, 10])) == [math.fsum(tenths[:10]), math.fsum(tenths[10:])]

    path = tmp_path / "events.jsonl"
    rows = [(1_000, 0.1), (MINUTE_MS + 2_000, 0.2), (MINUTE_MS - 1, 0.4), (MINUTE_MS, 0.8)]
    path.write_text(
        "".join(f'{{"ts": {ts}, "page": "a", "amount": {amount}}}\n' for ts, amount in rows)
    )
    for partitions, expected in ((1, [1, 2]), (2, [2, 2]), (4, [2, 2])):
        (batch,) = W2().rows(path, partitions)
        assert batch["events"].to_pylist() == expected


def test_sessions_of_the_truth(tmp_path):
    """A gap that is just long enough, rows in another order, a user in two sessions, a late row."""
    from bench.truth.w3 import GAP_MS, W3

    path = tmp_path / "events.jsonl"
    rows = [(9_000, "a"), (7_000, "b"), (5_000, "a"), (9_000 + GAP_MS, "a"), (70_001, "a")]
    rows.append((65_000, "c"))  # behind by more than is allowed
    path.write_text("".join(f'{{"ts": {ts}, "user": "{user}"}}\n' for ts, user in rows))
    (batch,) = W3().rows(path, 1)
    found = [(row["user"], row["events"]) for row in batch.to_pylist()]
    assert sorted(found) == [("a", 1), ("a", 3), ("b", 1)]
    (first,) = (row for row in batch.to_pylist() if row["events"] == 3)
    length = first["window_end"] - first["window_start"]
    assert length.total_seconds() == (9_000 + GAP_MS - 5_000 + GAP_MS) / 1000


def test_nexmark_measures_and_checks(run_bench, tmp_path, capsys):
    out = tmp_path / "result.json"
    arguments = ["--events", "2000", "--queries", "q2,q12", "--runs", "1", "--json", str(out)]
    assert run_bench("nexmark", *arguments) == 0
    first, second = json.loads(out.read_text())
    assert (first["query"], first["events"], second["query"]) == ("q2", 1840, "q12")
    assert first["system"] == second["system"] == "frazil"
    assert first["rows_ok"] is second["rows_ok"] is True
    assert "q12" in capsys.readouterr().out
    assert run_bench("nexmark", "--queries", "q99") == 2
    assert "no query q99 is written" in capsys.readouterr().err
    assert run_bench("nexmark", "--peers", "spark") == 2
    assert "no peer of Nexmark is called spark" in capsys.readouterr().err
    assert run_bench("nexmark", "--events", "5") == 2


def test_a_table_is_copied_and_checked(run_bench, tmp_path):
    out = tmp_path / "result.json"
    arguments = ("--events", "2000", "--runs", "1", "--source", "file", "--json", str(out))
    assert run_bench("cdc", *arguments) == 0
    (result,) = json.loads(out.read_text())
    assert (result["system"], result["inserts"], result["changes"]) == ("frazil", 2000, 2000)
    assert result["rows_ok"] is True


def test_rows_left_are_those_of_the_log(tmp_path, monkeypatch):
    """The last event of each key, unless it is a delete; before each is what was there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from bench.cdc import log, truth

    size = log.Size(1000, 3000)
    events = (
        "SELECT row_number() OVER () AS nth, op, before, after, "
        "coalesce(after.id, before.id) AS id "
        f"FROM read_json('{log.log_file(size)}', format='newline_delimited')"
    )
    with truth.opened() as database:
        last = (
            "SELECT arg_max(after, nth) AS after, arg_max(op, nth) AS op "
            f"FROM ({events}) GROUP BY id"
        )
        left = truth.rows(database, f"(SELECT unnest(after) FROM ({last}) WHERE op <> 'd')")
        assert left == truth.expected(size)
        shares = database.execute(
            f"SELECT op, count(*) FROM ({events}) WHERE nth > 1000 GROUP BY op ORDER BY op"
        ).fetchall()
        other = database.execute(
            "SELECT count(*) FROM (SELECT op, before, "
            f"lag(after) OVER (PARTITION BY id ORDER BY nth) AS was FROM ({events})) "
            "WHERE before IS DISTINCT FROM was"
        ).fetchall()
    assert [kind for kind, _ in shares] == ["c", "d", "u"]
    assert [round(count / 3000, 1) for _, count in shares] == [0.3, 0.2, 0.5]
    assert other == [(0,)]


def test_scans_of_a_table_are_measured(run_bench, tmp_path):
    out = tmp_path / "result.json"
    assert run_bench("cdc", "--events", "300", "--scans", "1,3", "--json", str(out)) == 0
    assert [(scan["epochs"], scan["rows_ok"]) for scan in json.loads(out.read_text())] == [
        (1, True),
        (3, True),
    ]
