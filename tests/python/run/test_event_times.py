"""What a run says of its event time: watermark, partitions, late rows, state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import frazil as fz
import pytest
import structlog
from click.testing import CliRunner
from frazil.cli import main
from frazil.run.coordinator import Coordinator
from frazil.run.event_times import HELD_AFTER_S, EventTimes, behind_text, describe_time, time_text
from frazil.run.live import LogLines, conditions, describe
from frazil.run.prometheus import PrometheusEndpoint
from frazil.run.runner import prepare, settings_of
from frazil.run.status import Status

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROS = int(BEGIN.timestamp()) * 1_000_000
SECOND = timedelta(seconds=1)


class Click(fz.Schema):
    at: datetime


@pytest.fixture
def clicks(tmp_path: Path) -> fz.Stream:
    """Two partitions: one to 12:10:00 with two late rows, one to 12:02:30."""
    for name, seconds in (("a", [0, 30, 600, 10, 20]), ("b", [5, 150])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jsonl").write_text(
            "".join(f'{{"at": "{(BEGIN + s * SECOND).isoformat()}"}}\n' for s in seconds)
        )
    return fz.read_files(
        f"{tmp_path}/*/*.jsonl", format="json", schema=Click, lanes="by_folder", name="clicks"
    ).event_time("at", out_of_order="10s")


class Watch:
    """Keeps the last status."""

    status: Status

    def update(self, status: Status) -> None:
        self.status = status


def run(pipeline: fz.Pipeline) -> tuple[Status, Any]:
    watch = Watch()
    coordinator = Coordinator(
        prepare(pipeline), settings_of(pipeline, bounded=True, quiet=True), observer=watch
    )
    return coordinator.status, coordinator.run()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_knows_its_event_time(clicks: fz.Stream, tmp_path: Path, workers: int) -> None:
    minutes = clicks.group_by().window(fz.tumbling("1m")).agg(n=fz.count()).named("minutes")
    hours = clicks.group_by().window(fz.tumbling("1h")).agg(n=fz.count()).named("hours")
    late = minutes.late.write_memory(name="late")
    pipeline = fz.Pipeline(
        "p",
        minutes.write_memory(name="minutes"),
        hours.write_memory(name="hours"),
        late,
        checkpoint=str(tmp_path / "checkpoint"),
        workers=workers,
    )
    status, report = run(pipeline)
    nodes = status.metrics["nodes"]
    (time,) = [node for node in nodes.values() if "held_by" in node]
    slow = next(name for name in time["frontiers"] if "b" in name.rpartition("/")[2])
    assert time["held_by"] == slow
    assert time["partitions"] == 2
    assert sorted(time["frontiers"].values()) == [MICROS + 150_000_000, MICROS + 600_000_000]
    assert (time["least"], time["most"]) == (MICROS + 150_000_000, MICROS + 600_000_000)
    assert time["watermark"] == MICROS + 140_000_000
    refused = {name: node["late"] for name, node in nodes.items() if "late" in node}
    assert sorted(refused.values()) == [0, 2]
    assert refused == status.late
    assert report.late == {"minutes": 2, "hours": 0}
    assert late.table().num_rows == 2
    assert "  minutes: 2 late rows" in str(report)
    assert sum(node.get("state_bytes", 0) > 0 for node in nodes.values()) == 2
    text = describe_time(status.metrics, status.times, BEGIN + 200 * SECOND)
    assert f"clicks: watermark 2026-01-01T12:02:20Z, 60s behind, held by {slow}" in text
    assert f"  {slow}: 2026-01-01T12:02:30Z" in text
    assert "\nminutes: 2 late rows" in text
    assert "bytes of state, closed to 2026-01-01T12:02:20Z" in text
    _, again = run(pipeline)
    assert sum(again.late.values()) == 0  # of this run


def test_state_of_a_slot_is_summed_by_step(clicks: fz.Stream, tmp_path: Path) -> None:
    days = clicks.group_by().window(fz.tumbling("1d")).agg(n=fz.count()).named("days")
    folder = tmp_path / "checkpoint"
    run(fz.Pipeline("p", days.write_memory(name="out"), checkpoint=str(folder)))
    shown = CliRunner().invoke(main, ["state", "show", str(folder / "p")])
    assert shown.exit_code == 0, shown.output
    slot = json.loads(shown.stdout)
    (state,) = slot["state"].values()
    assert state["full"]["files"] >= 1
    assert state["changes"] == {"files": 0, "bytes": 0}
    assert state["full"]["bytes"] == sum(file["size"] for file in slot["state_files"])


def node(watermark: int | None, **frontiers: int | None) -> dict[str, Any]:
    """Metrics of an event_time step."""
    least = min(frontiers, key=lambda name: (frontiers[name] is not None, frontiers[name] or 0))
    made = {
        "name": "event_time-1",
        "rows_in": 0,
        "frontiers": frontiers,
        "partitions": len(frontiers),
        "held_by": least,
        "least": frontiers[least],
        "most": max((at for at in frontiers.values() if at is not None), default=None),
    }
    return made if watermark is None else {**made, "watermark": watermark}


def metrics(*args: Any, **frontiers: Any) -> dict[str, Any]:
    return {"nodes": {"event_time-1": node(*args, **frontiers)}}


def test_who_holds_a_watermark_is_said_after_a_while() -> None:
    times = EventTimes({"event_time-1": "kafka:clicks"})
    times.update(metrics(100, a=100, b=100), 0.0)
    times.update(metrics(100, a=100, b=500), HELD_AFTER_S - 1)
    assert times.conditions() == []
    times.update(metrics(100, a=100, b=600), HELD_AFTER_S)
    said = "kafka:clicks: watermark held by a, which gives no newer rows"
    assert times.conditions() == [said]
    times.update(metrics(100, a=100, b=700), HELD_AFTER_S + 5)
    assert times.conditions() == [said], "the same words, so that it is logged once"
    assert times.held() == {"event_time-1": ("a", 0.0)}
    times.update(metrics(200, a=200, b=700), HELD_AFTER_S + 6)
    assert times.conditions() == []


def test_nobody_holds_a_watermark_while_nothing_comes() -> None:
    times = EventTimes()
    for second in range(60):
        times.update(metrics(100, a=100, b=500), float(second))
    assert times.held() == {}
    times = EventTimes()
    for second in range(60):  # b has never had a row
        times.update(metrics(None, a=100 + second, b=None), float(second))
    assert times.held() == {"event_time-1": ("b", 0.0)}


def held_status() -> Status:
    status = Status("p", 1, started=0.0)
    status.times = EventTimes({"event_time-1": "kafka:clicks"})
    for second, most in ((0, MICROS), (60, MICROS + 5)):
        status.metrics = metrics(MICROS - 10_000_000, a=MICROS, b=most)
        status.times.update(status.metrics, float(second))
    status.metrics["nodes"]["window"] = {
        "name": "minutes",
        "rows_in": 5,
        "late": 3,
        "state_bytes": 4096,
    }
    return status


def test_the_live_line_and_the_log_name_who_holds_it() -> None:
    status = held_status()
    line = describe(status, now=10.0)
    assert " behind · 3 late · kafka:clicks: watermark held by a, " in line
    assert conditions(status) == ["kafka:clicks: watermark held by a, which gives no newer rows"]
    lines = LogLines()
    with structlog.testing.capture_logs() as logged:
        lines.update(status)
        lines.update(status)
    assert [each["reason"] for each in logged] == conditions(status)


def test_prometheus_has_event_time() -> None:
    endpoint = PrometheusEndpoint(0)
    try:
        endpoint.update(held_status())
        with urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        endpoint.close()
    seconds = MICROS // 1_000_000
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['frazil_watermark_seconds{node="event_time-1"}']) == seconds - 10
    assert float(lines['frazil_frontier_seconds{node="kafka:clicks",partition="a"}']) == seconds
    assert 'frazil_watermark_held_seconds{node="kafka:clicks",partition="a"}' in lines
    assert float(lines['frazil_rows_late_total{node="minutes"}']) == 3
    assert float(lines['frazil_state_bytes{node="minutes"}']) == 4096


def test_times_in_words() -> None:
    assert time_text(MICROS) == "2026-01-01T12:00:00Z"
    assert time_text(2**62) == f"{2**62} us"
    said = [behind_text(MICROS, BEGIN + timedelta(seconds=s)) for s in (-5, 0, 119, 7200, 10**6)]
    assert said == ["ahead of the clock", "0s behind", "119s behind", "2h behind", "11d behind"]
    assert describe_time({}, EventTimes(), BEGIN) == "no event time"
    more = metrics(None, a=None)
    more["nodes"]["event_time-1"]["partitions"] = 7
    assert describe_time(more, EventTimes(), BEGIN).splitlines() == [
        "event_time-1: no watermark yet, held by a",
        "  a: no row yet",
        "  and 6 more",
    ]


def test_steps_of_one_source_have_names_of_their_own(tmp_path: Path) -> None:
    rows = fz.read_memory([{"made": BEGIN, "sent": BEGIN}], name="rows")
    sinks = [
        rows.event_time(column, out_of_order="1s").write_memory(name=column)
        for column in ("made", "sent")
    ]
    status, _ = run(fz.Pipeline("p", *sinks, checkpoint=str(tmp_path)))
    assert len({*status.times.names.values()}) == 2
    assert all(name.startswith("rows/event_time-") for name in status.times.names.values())


def test_a_handle_says_where_event_time_stands(clicks: fz.Stream, tmp_path: Path) -> None:
    minutes = clicks.group_by().window(fz.tumbling("1m")).agg(n=fz.count())
    sink = minutes.write_memory(name="out")
    handle = fz.Pipeline("p", sink, checkpoint=str(tmp_path / "checkpoint")).start(
        until="now", quiet=True
    )
    handle.wait()
    assert "clicks: watermark 2026-01-01T12:02:20Z" in handle.describe_time()
