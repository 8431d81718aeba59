"""How far event time has come in a run, and which partition holds it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

HELD_AFTER_S = 10.0
"""How long a watermark stands still while others advance until it is said (seconds)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WAITS = "waits for the end of its history"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


@dataclass
class _Step:
    """What was last seen of an event_time step."""

    watermark: int | None
    most: int | None  # largest frontier when the watermark last rose
    risen: float  # when that was, monotonic
    held_by: str = ""


@dataclass
class EventTimes:
    """The event time of a run's sources, from the engine's metrics.

    Attributes
    ----------
    names
        What steps are called, by id; see `step_names`.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    _steps: dict[str, _Step] = field(default_factory=dict)
    _waiting: list[str] = field(default_factory=list)  # steps whose history is being read

    def update(self, metrics: Mapping[str, Any], now: float) -> None:
        """Take the newest metrics; `now` is monotonic."""
        nodes = metrics.get("nodes", {})
        self._waiting = [step for step, node in nodes.items() if "waits" in node]
        for step, node in nodes.items():
            if "held_by" not in node:
                continue
            watermark, most = node.get("watermark"), node["most"]
            known = self._steps.get(step)
            if known is None or watermark != known.watermark:
                self._steps[step] = _Step(watermark, most, now)
                continue
            stands = now - known.risen >= HELD_AFTER_S
            known.held_by = node["held_by"] if stands and most != known.most else ""

    def held(self) -> dict[str, tuple[str, float]]:
        """Who holds a watermark up, by step: the partition, and since when (monotonic)."""
        return {
            step: (known.held_by, known.risen)
            for step, known in self._steps.items()
            if known.held_by
        }

    def conditions(self) -> list[str]:
        """What is worth saying of it, in words that do not change while it lasts."""
        held = [
            f"{self.names.get(step, step)}: watermark held by {held_by}, which gives no newer rows"
            for step, (held_by, _) in self.held().items()
        ]
        return held + [f"{self.names.get(step, step)}: {_WAITS}" for step in self._waiting]


def least_watermark(metrics: Mapping[str, Any]) -> int | None:
    """The watermark of the slowest event_time step, in microseconds; None if none is known."""
    known = [
        node["watermark"]
        for node in metrics.get("nodes", {}).values()
        if "held_by" in node and "watermark" in node
    ]
    return min(known, default=None)


def moving_watermark(metrics: Mapping[str, Any]) -> int | None:
    """How far event time has come in all partitions that do not rest, in microseconds.

    None if one of them has no row yet. If all of them rest: as far as it has come in any.
    """
    steps = [node for node in metrics.get("nodes", {}).values() if "held_by" in node]
    moving = [node["moving"] for node in steps if len(node["resting"]) < node["partitions"]]
    if moving:
        return None if None in moving else min(moving)
    return max((node["furthest"] for node in steps if node["furthest"] is not None), default=None)


def describe_time(metrics: Mapping[str, Any], times: EventTimes, wall: datetime) -> str:
    """Say where event time stands: partitions, watermark, who holds it; late rows and state."""
    lines: list[str] = []
    for step, node in metrics.get("nodes", {}).items():
        if "held_by" in node:
            lines += _of_partitions(times.names.get(step, step), node, wall)
        elif "waits" in node:
            lines.append(f"{times.names.get(step, step)}: {_WAITS}")
        elif "ended" in node:
            lines.append(f"{times.names.get(step, step)}: history, read to its end")
    for step, node in metrics.get("nodes", {}).items():
        said = []
        if "late" in node:
            said.append(f"{node['late']:,} late rows")
        if "state_bytes" in node:
            said.append(f"{node['state_bytes']:,} bytes of state")
            if "watermark" in node:
                said.append(f"closed to {time_text(node['watermark'])}")
        if said:
            name = times.names.get(step, node.get("name", step))
            lines.append(f"{name}: {', '.join(said)}")
    return "\n".join(lines) or "no event time"


def _of_partitions(name: str, node: Mapping[str, Any], wall: datetime) -> list[str]:
    held = f"held by {node['held_by']}"
    if "watermark" in node:
        stands = time_text(node["watermark"])
        lines = [f"{name}: watermark {stands}, {behind_text(node['watermark'], wall)}, {held}"]
    elif node["least"] is None:
        lines = [f"{name}: no watermark yet, {held}"]
    else:
        lines = [f"{name}: event time has ended"]
    resting = frozenset(node.get("resting", ()))
    for partition, frontier in node["frontiers"].items():
        stands = "no row yet" if frontier is None else time_text(frontier)
        lines.append(f"  {partition}: {stands}{', rests' if partition in resting else ''}")
    if more := node["partitions"] - len(node["frontiers"]):
        lines.append(f"  and {more} more")
    return lines


def time_text(microseconds: int) -> str:
    """A time as ISO 8601; the number where the calendar of Python ends."""
    try:
        at = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} us"
    return at.isoformat().replace("+00:00", "Z")


def behind_text(microseconds: int, wall: datetime) -> str:
    """How far a time is behind the clock, roughly: ``12s behind``."""
    seconds = ((wall - _EPOCH) // timedelta(microseconds=1) - microseconds) // 1_000_000
    if seconds < 0:
        return "ahead of the clock"
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size}{unit} behind"
    return f"{seconds}s behind"


def step_names(plan: Mapping[str, Any]) -> dict[str, str]:
    """What people call the steps of a plan that have no name of their own, by id.

    An event_time step goes by its source, with its id behind that where a source has several; one
    that refuses late rows by the name of its window, if it has one.
    """
    nodes = {node["id"]: node for node in plan["nodes"]}
    found: dict[str, str] = {}
    for node in plan["nodes"]:
        if node["kind"] == "event_time":
            found[node["id"]] = _above(node, "source", nodes)["name"]
    sources = list(found.values())
    names = {
        step: name if sources.count(name) == 1 else f"{name}/{step}" for step, name in found.items()
    }
    for node in plan["nodes"]:
        if node.get("stateful") and node.get("name"):
            gates = [_gate_above(upstream, nodes) for upstream in _inputs(node)]
            for number, gate in enumerate(gate for gate in gates if gate is not None):
                names[gate] = node["name"] if number == 0 else f"{node['name']}/{number + 1}"
    return names


def _inputs(node: Mapping[str, Any]) -> list[str]:
    inputs = node["inputs"] if "inputs" in node else [node["input"]]
    return [upstream for upstream, _ in inputs]


def _gate_above(node_id: str, nodes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The step that refuses late rows on the way to one that keeps state, if they have one."""
    node = nodes[node_id]
    while node["kind"] in ("exchange", "reorder"):
        node = nodes[node["input"][0]]
    return node["id"] if node["kind"] in ("gate", "window_partial") else None


def _above(
    node: Mapping[str, Any], kind: str, nodes: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    while node["kind"] != kind:
        node = nodes[node["input"][0]]
    return node
