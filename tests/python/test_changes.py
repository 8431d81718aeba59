"""Which streams are changes, by which key, what refuses them and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import col
from frazil.changes import changes_of, current
from frazil.errors import ColumnExists, ModeMismatch, PlanChanged, PlanError

ROWS = [
    {"user": user, "n": n, "at": datetime(2026, 1, 1, 0, n, tzinfo=UTC)}
    for n, user in enumerate("abacab")
]


def events() -> fz.Stream:
    return fz.read_memory(ROWS, name="events").event_time("at", out_of_order="10s")


def totals() -> fz.Stream:
    return events().group_by("user").agg(n=fz.count(), most=col("n").max())


def windows(**how: Any) -> fz.Stream:
    return events().group_by("user").window(fz.tumbling("1m"), **how).agg(n=fz.count())


def left_of(stream: fz.Stream, folder: Path) -> list[tuple[Any, ...]]:
    sink = stream.write_memory()
    fz.Pipeline("changes", sink, checkpoint=str(folder)).run(until="now", quiet=True)
    return sorted(tuple(row.values()) for row in sink.table().to_pylist())


def test_which_streams_are_changes() -> None:
    assert changes_of(events()._port) is None
    assert changes_of(windows()._port) is None
    assert str(changes_of(totals()._port)) == "changes by user"
    by_window = "changes by user, window_start, window_end"
    assert str(changes_of(windows(early="10s")._port)) == by_window
    assert str(changes_of(windows(emit="on_change")._port)) == by_window
    kept = totals().filter(col("n") > 1).rename(user="who").with_columns(twice=col("n") * 2)
    assert repr(kept).startswith("Stream(changes by who) <- events")
    assert str(changes_of(totals().select("n")._port)) == "changes"
    assert changes_of(totals().as_log()._port) is None
    assert changes_of(windows(emit="on_change").late._port) is None


def test_early_results_of_sessions(tmp_path: Path) -> None:
    def sessions(early: str) -> fz.Stream:
        window = events().group_by("user").window(fz.session(gap="10m"), early=early)
        return window.agg(n=fz.count()).named("visits")

    early = sessions("10s")
    assert str(changes_of(early._port)) == "changes by user, window_start"
    assert changes_of(early.late._port) is None
    explained = fz.Pipeline("p", early.write_memory()).explain()
    assert "changes each 10s of event time" in explained
    sink = early.write_memory()
    checkpoint = str(tmp_path / "checkpoint")
    fz.Pipeline("p", sink, checkpoint=checkpoint).run(until="now", close_windows=True, quiet=True)
    assert {row["user"]: row["n"] for row in sink.table().to_pylist()} == {"a": 3, "b": 2, "c": 1}
    with pytest.raises(PlanChanged, match="every: was 10s, is now 20s"):
        fz.Pipeline("p", sessions("20s").write_memory(), checkpoint=checkpoint).run(until="now")


@pytest.mark.parametrize(
    "take",
    [
        lambda s: s.group_by("n").agg(k=col("most").max()),
        lambda s: s.group_by("n").agg(k=fz.count(), l=1 + col("most").first()),
        lambda s: s.group_by("user").window(fz.tumbling("1m")),
        lambda s: s.deduplicate("user", within="1m"),
        lambda s: s.map_batches(lambda batch: batch, schema=s.schema),
        lambda s: s.write_iceberg("sales.totals"),
        lambda s: s.write_files("totals", format="parquet"),
        lambda s: s.union(
            fz.read_memory([{"user": "a", "n": 1, "most": 1}]).select(*s.schema.names)
        ),
        lambda s: s.select("n").write_memory(),
        lambda s: s.join_lookup(fz.lookup_parquet("gone.parquet"), on="user", duplicates="all"),
    ],
)
def test_what_refuses_them_says_why(
    take: Callable[[fz.Stream], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"user": ["a"], "city": ["Rome"]}), "gone.parquet")
    why = r"group_by\(user\).agg without a window \(test_changes.py:\d+\)"
    with pytest.raises(PlanError, match=why):
        take(totals().with_columns(n=col("n") + 0))


def test_a_log_is_of_changes() -> None:
    with pytest.raises(PlanError, match="no changes"):
        events().as_log()
    with pytest.raises(ColumnExists, match="_kind"):
        totals().with_columns(_kind=col("n")).as_log()


def test_explain_says_how_far_they_are_exact() -> None:
    def explained(stream: fz.Stream) -> str:
        return fz.Pipeline("p", stream.write_memory()).explain()

    assert explained(windows()).splitlines()[0].split()[2] == "exact,"
    assert explained(totals()).splitlines()[0].split()[2] == "settled,"
    assert explained(totals().as_log()).splitlines()[0].split()[2] == "consistent,"
    assert "group_aggregate by user" in explained(totals())
    assert "group_aggregate tumbling 1m, early 10s by user" in explained(windows(early="10s"))


def test_what_follows_keeps_kinds_right(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({"id": ["a", "c"], "city": ["Rome", "Oslo"]}), path)
    users = fz.lookup_parquet(str(path))

    @fz.udf
    def doubled(n: int) -> int:
        return 2 * n

    made = totals().with_columns(twice=doubled(col("n"))).filter(col("twice") > 2)
    assert left_of(made, tmp_path / "1") == [("a", 3, 4, 6), ("b", 2, 5, 4)]
    assert left_of(totals().join_lookup(users, on={"user": "id"}), tmp_path / "2") == [
        ("a", 3, 4, "Rome"),
        ("c", 1, 3, "Oslo"),
    ]
    assert left_of(totals().join_lookup(users, on={"user": "id"}, how="anti"), tmp_path / "3") == [
        ("b", 2, 5)
    ]
    every = totals()
    one, others = every.filter(col("user") == "a"), every.filter(col("user") != "a")
    assert left_of(one.union(others), tmp_path / "4") == [("a", 3, 4), ("b", 2, 5), ("c", 1, 3)]


def test_aggregates_of_changes(tmp_path: Path) -> None:
    """Of the rows that are left: two users have two rows, or were among those that had."""
    sizes = totals().group_by("n").agg(users=fz.count(), most=col("most").sum())
    assert str(changes_of(sizes._port)) == "changes by n"
    assert left_of(sizes, tmp_path / "1") == [(1, 1, 3), (2, 1, 5), (3, 1, 4)]
    shares = totals().group_by().agg(of=col("most").sum() / fz.count())
    assert left_of(shares, tmp_path / "2") == [(4.0,)]
    explained = fz.Pipeline("p", sizes.write_memory()).explain()
    assert "2 accumulators of the keys that have rows; changes (settled)" in explained


def test_what_cannot_retract_says_what_can() -> None:
    with pytest.raises(PlanError) as refused:
        totals().group_by("n").agg(k=col("most").max())
    assert "max cannot take a row back" in str(refused.value)
    assert "count, sum, mean, variance, stddev can" in str(refused.value)


def test_what_may_answer_otherwise_is_not_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({"id": ["a", "c"], "city": ["Rome", "Oslo"]}), path)
    steady = fz.lookup_parquet(str(path))
    refreshed = fz.lookup_parquet(str(path), refresh="1m")

    @fz.udf(pure=False)
    def drawn(n: int | None) -> int:
        return n or 0

    joined = totals().join_lookup(steady, on={"user": "id"}).filter(col("n") > 0)
    joined.group_by("city").agg(n=fz.count())
    anew = totals().join_lookup(refreshed, on={"user": "id"}).filter(col("n") > 0)
    with pytest.raises(ModeMismatch, match="read anew"):
        anew.group_by("city").agg(n=fz.count())
    for made in (
        lambda s: s.with_columns(d=drawn(col("n"))).select("d").group_by("d").agg(n=fz.count()),
        lambda s: s.group_by("user").agg(n=drawn(col("n")).sum()),
        lambda s: s.union(s.with_columns(n=drawn(col("n")))).group_by("n").agg(k=fz.count()),
    ):
        with pytest.raises(ModeMismatch, match="pure=False"):
            made(totals())
    # Before the rows change it does no harm.
    before = events().with_columns(d=drawn(col("n"))).group_by("d").agg(n=fz.count())
    before.group_by("n").agg(k=fz.count())


def test_a_look_shows_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert totals().head(2).column_names == ["user", "n", "most", "_kind"]
    totals().show(1)
    assert "insert" in capsys.readouterr().out


def test_half_of_a_key_that_changes() -> None:
    """A lookup finds a partner for one of the two rows of an update only."""
    log = pa.table(
        {
            "user": ["a", "a", "a", "b"],
            "n": [1, 1, 2, 1],
            "_kind": ["insert", "update_before", "update_after", "insert"],
        }
    )
    assert current(log, ["user"]).to_pylist() == [{"user": "a", "n": 2}, {"user": "b", "n": 1}]
    assert current(log.slice(0, 0), ["user"]).num_rows == 0


OPERATIONS = [
    {"id": 1, "op": "c", "n": 5},
    {"id": 2, "op": "r", "n": 6},
    {"id": 1, "op": "U", "n": 7},
    {"id": 2, "op": "d", "n": None},
    {"id": 3, "op": "u", "n": 8},
]


def operations() -> fz.Stream:
    return fz.read_memory(OPERATIONS, name="operations").as_changes("op", key="id")


def test_operations_as_a_column(tmp_path: Path) -> None:
    assert repr(operations()).startswith("Stream(changes by id)")
    assert left_of(operations(), tmp_path / "all") == [(1, 7), (3, 8)]
    assert left_of(operations().filter(col("n") > 7), tmp_path / "some") == [(3, 8)]
    sink = operations().as_log().write_memory()
    fz.Pipeline("log", sink, checkpoint=str(tmp_path / "log")).run(until="now", quiet=True)
    kinds = [row["_kind"] for row in sink.table().to_pylist()]
    assert kinds == ["insert", "insert", "update_after", "delete", "update_after"]


def test_what_has_no_row_before(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "ids.parquet")
    ids = fz.lookup_parquet(str(tmp_path / "ids.parquet"))
    operations().join_lookup(ids, on="id", how="left")
    with pytest.raises(ModeMismatch, match="has to know the row before"):
        operations().join_lookup(ids, on="id", how="semi")
    with pytest.raises(ModeMismatch):
        operations().group_by("n").agg(rows=fz.count())


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda s: s.as_changes("opp", key="id"), "did you mean 'op'"),
        (lambda s: s.as_changes("n", key="id"), "has to be text"),
        (lambda s: s.as_changes("op", key=[]), "which columns tell rows apart"),
        (lambda s: s.as_changes("op", key=["id", "id"]), "which columns tell rows apart"),
        (lambda s: s.as_changes("op", key="op"), "which columns tell rows apart"),
        (lambda s: s.group_by("op").agg(n=fz.count()).as_changes("op", key="n"), "changes already"),
    ],
)
def test_mistakes_with_operations(mistake: Callable[[fz.Stream], Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        mistake(fz.read_memory(OPERATIONS))


@pytest.mark.parametrize(("op", "said"), [("t", 'got "t"'), (None, "got null")])
def test_operation_that_is_none(op: str | None, said: str, tmp_path: Path) -> None:
    stream = fz.read_memory([{"id": 1, "op": "c"}, {"id": 1, "op": op}])
    with pytest.raises(PlanError, match=f"expected c, r, u or d, {said}"):
        left_of(stream.as_changes("op", key="id"), tmp_path)
