"""`concat` as it is written: what fits together, what is refused, what is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import frazil as fz
import pytest
from frazil import col
from frazil.run.event_times import EventTimes, describe_time, moving_watermark, step_names
from frazil.run.histories import Histories

if TYPE_CHECKING:
    from collections.abc import Callable

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [{"id": 1, "at": AT, "to": AT}]


def rows(name: str) -> fz.Stream:
    return fz.read_memory(ROWS, name=name)


def timed(name: str, column: str = "at") -> fz.Stream:
    return rows(name).event_time(column, out_of_order="10s")


def nodes(*streams: fz.Stream) -> dict[str, dict[str, Any]]:
    """Nodes of the plan: sources by their name, others by kind and number."""
    sinks = [stream.write_memory(name=f"sink{n}") for n, stream in enumerate(streams)]
    found: dict[str, dict[str, Any]] = {}
    for node in fz.Pipeline("p", *sinks).plan.json["nodes"]:
        kind = node["kind"]
        number = sum(key.startswith(kind) for key in found)
        found[node["name"] if kind == "source" else f"{kind}{number}"] = node
    return found


def test_plan() -> None:
    found = nodes(fz.concat(timed("old"), timed("new")))
    assert found["concat0"]["inputs"] == [
        [found["event_time0"]["id"], "rows"],
        [found["event_time1"]["id"], "rows"],
    ]
    assert found["old"]["history"] is True
    assert found["new"]["after"] == [found["old"]["id"]]
    assert found["event_time1"]["after"] == [found["event_time0"]["id"]]
    assert "after" not in found["old"]
    assert "history" not in found["new"]


def test_plan_of_several() -> None:
    """Each waits for all that is read before it; a union is read as one."""
    first = timed("a").union(timed("b"))
    found = nodes(fz.concat(fz.concat(first, timed("c")), timed("d").filter(col("id") > 0)))
    names = {node["id"]: name for name, node in found.items()}
    after = {
        name: {names[each] for each in node.get("after", ())}
        for name, node in found.items()
        if node["kind"] == "source"
    }
    assert after == {"a": set(), "b": set(), "c": {"a", "b"}, "d": {"a", "b", "c"}}
    assert [name for name in "abcd" if found[name].get("history")] == ["a", "b", "c"]


def test_nullable_columns() -> None:
    old = timed("old")
    new = fz.read_memory(
        [{"id": 1, "at": AT, "to": None}, *ROWS], schema=old.schema, name="new"
    ).event_time("at", out_of_order="5s")
    both = fz.concat(old, new)
    assert both.schema.names == ["id", "at", "to"]
    assert "event time: at, 10s out of order or 5s out of order" in repr(both)


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (lambda: fz.concat(rows("a"), rows("b")), fz.WatermarkMissing, "history has none"),
        (lambda: fz.concat(timed("a"), rows("b")), fz.WatermarkMissing, "live has none"),
        (lambda: fz.concat(timed("a"), timed("b", "to")), fz.WatermarkMissing, "different ones"),
        (
            lambda: fz.concat(timed("a"), timed("b").drop("to")),
            fz.SchemaMismatch,
            "concat of a and b: their columns differ",
        ),
        (lambda: fz.concat(timed("a"), "b"), fz.TypeMismatch, "concat got a str"),
        (
            lambda: fz.concat(timed("a"), timed("b")).event_time("at", out_of_order="1s"),
            fz.PlanError,
            "call it on each stream before concat",
        ),
        (
            lambda: (lambda one: fz.concat(one, one.filter(col("id") > 1)))(timed("a")),
            fz.PlanError,
            "both streams of concat read a",
        ),
        (
            lambda: fz.concat(
                timed("a").group_by("id").window(fz.tumbling("1m")).agg(n=fz.count()),
                timed("b").group_by("id").window(fz.tumbling("1m")).agg(n=fz.count()),
            ),
            fz.PlanError,
            "concat behind a step that keeps rows",
        ),
        (
            lambda: fz.concat(
                *(
                    fz.read_generator(seed=seed).event_time("at", out_of_order="5s")
                    for seed in (1, 2)
                )
            ),
            fz.PlanError,
            "generator:1, which has no end",
        ),
    ],
    ids=range(9),
)
def test_refused(made: Callable[[], object], error: type[fz.FrazilError], said: str) -> None:
    with pytest.raises(error, match=said):
        made()


def test_explained() -> None:
    both = fz.concat(timed("old"), timed("new"))
    text = fz.Pipeline("p", both.write_memory()).explain()
    assert "<- concat" in text
    assert "the first to its end, then the second" in text
    assert "read_memory new" in text
    assert "after old" in text


def test_what_waits_is_said() -> None:
    """Neither the one that waits nor the one that is over holds event time."""
    plan = fz.Pipeline("p", fz.concat(timed("old"), timed("new")).write_memory()).plan.json
    steps = {node["id"]: node for node in plan["nodes"] if node["kind"] == "event_time"}
    times = EventTimes(step_names(plan))
    old, new = ({**step, "name": step["id"]} for step in steps.values())
    reading = {
        "partitions": 1,
        "frontiers": {"p": 5},
        "held_by": "p",
        "least": 5,
        "most": 5,
        "moving": 5,
        "furthest": 5,
        "resting": [],
        "watermark": 5,
    }
    first = {"nodes": {old["id"]: reading, new["id"]: {"waits": True}}}
    said = describe_time(first, times, AT)
    assert said.splitlines()[0].startswith("old: watermark 1970-01-01")
    assert said.splitlines()[-1] == "new: waits for the end of its history"
    times.update(first, 0.0)
    assert times.conditions() == ["new: waits for the end of its history"]
    assert moving_watermark(first) == 5
    then = {"nodes": {old["id"]: {"ended": True}, new["id"]: reading}}
    assert "old: history, read to its end" in describe_time(then, times, AT)
    times.update(then, 1.0)
    assert times.conditions() == []


def test_who_is_due() -> None:
    """A history ends when every row of all that is waited for has been read."""
    first = timed("a").union(timed("b"))
    found = nodes(fz.concat(fz.concat(first, timed("c")), timed("d")))
    a, b, c, d = (found[name]["id"] for name in "abcd")
    plan = {"nodes": list(found.values())}
    times = {
        source["id"]: [step["id"]]
        for source, step in zip(
            (found[name] for name in "abcd"),
            (found[f"event_time{n}"] for n in range(4)),
            strict=True,
        )
    }
    histories = Histories(plan, times, [])
    assert [histories.waits(each) for each in (a, b, c, d)] == [False, False, True, True]
    assert histories.growing() == [d]
    assert histories.due({"nodes": {a: {"at_end": True}, b: {"at_end": False}}}) == frozenset()
    assert histories.due({"nodes": {a: {"at_end": True}, b: {"at_end": True}}}) == {a, b}
    histories.end([a, b])
    assert [histories.waits(each) for each in (c, d)] == [False, True]
    assert histories.pending
    frontiers = {times[a][0]: {"p": 7_000_000}, times[b][0]: {"p": 9_000_000}}
    assert histories.seams(frontiers) == {times[c][0]: 9_000_000}
    histories.end([c])
    assert not histories.pending
    assert histories.left() == [d]
    assert Histories(plan, times, [a, b, c, "gone"]).left() == [d]
