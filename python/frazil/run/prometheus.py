"""Metrics for Prometheus, on request: an HTTP endpoint on loopback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from frazil.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from frazil.run.status import Status
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric


class PrometheusEndpoint:
    """Serves the newest status of a run.

    Parameters
    ----------
    port
        TCP port; 0 takes a free one, see `port`.
    address
        Where it listens; loopback unless said otherwise.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise ConfigError(
                "metrics need the package prometheus-client, which is not installed",
                "install it: pip install prometheus-client",
            ) from None
        self._status: Status | None = None
        registry: CollectorRegistry = CollectorRegistry()
        registry.register(self)
        self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        self.port = int(self._server.server_port)

    def update(self, status: Status) -> None:
        """Take the newest status; read when somebody scrapes."""
        self._status = status

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def collect(self) -> Iterator[Metric]:
        """All metrics (prometheus_client's collector protocol)."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._status
        if status is None:
            return
        now = time.monotonic()
        rows = CounterMetricFamily("frazil_rows", "Rows by node of the plan", labels=["node"])
        rejected = CounterMetricFamily("frazil_rows_rejected", "Bad rows", labels=["source"])
        read = CounterMetricFamily("frazil_source_bytes", "Bytes read", labels=["source"])
        for node in status.metrics.get("nodes", {}).values():
            rows.add_metric([node["name"]], node.get("read", node["rows_in"]))
            if "rejected" in node:
                rejected.add_metric([node["name"]], node["rejected"])
                read.add_metric([node["name"]], node["bytes"])
        lag = GaugeMetricFamily(
            "frazil_lag", "Rows or bytes to the end of a partition", labels=["source", "partition"]
        )
        nodes = status.metrics.get("nodes", {})
        for source, partitions in status.lag.items():
            name = nodes[source]["name"] if source in nodes else source
            for partition, behind in partitions.items():
                lag.add_metric([name, partition], behind)
        memory = GaugeMetricFamily("frazil_memory_bytes", "Arrow memory by tag", labels=["tag"])
        for tag, size in status.metrics.get("memory", {}).items():
            memory.add_metric([tag], size)
        yield from (rows, rejected, read, lag, memory)
        yield from self._time_metrics(status, now)
        yield from self._lookup_metrics(status)
        yield from self._python_metrics(status)
        for name, text, value in (
            (
                "checkpoint_seconds",
                "Last checkpoint, barrier to manifest",
                status.checkpoint_seconds,
            ),
            ("commit_seconds", "Last commit", status.commit_seconds),
            ("restore_seconds", "Reading state at the start", status.restore_seconds),
            (
                "longest_step_seconds",
                "Longest piece of work of a worker, CPU time",
                status.metrics.get("longest_step_us", 0) / 1e6,
            ),
            (
                "longest_checkpoint_step_seconds",
                "Longest of those that a checkpoint made",
                status.metrics.get("longest_epoch_step_us", 0) / 1e6,
            ),
            (
                "seconds_since_last_commit",
                "Since a table took an epoch",
                now - (status.last_commit or status.started),
            ),
            ("pending_epochs", "Accepted epochs not in every table", status.pending_epochs),
            ("spilled_bytes", "State on disk", status.metrics.get("spilled_bytes", 0)),
            ("queue_bytes", "Bytes in channels", status.metrics.get("queue_bytes", 0)),
            ("epoch", "Newest accepted epoch", status.epoch),
        ):
            yield GaugeMetricFamily(f"frazil_{name}", text, value=value)

    @staticmethod
    def _python_metrics(status: Status) -> Iterator[Metric]:
        """Python functions: how often they are called, what that takes."""
        from prometheus_client.core import CounterMetricFamily

        calls = CounterMetricFamily(
            "frazil_python_calls", "Calls of Python functions", labels=["node"]
        )
        seconds = CounterMetricFamily(
            "frazil_python_seconds", "Time in these calls", labels=["node"]
        )
        waited = CounterMetricFamily(
            "frazil_python_wait_seconds", "Time before them, for the interpreter", labels=["node"]
        )
        for node in status.metrics.get("nodes", {}).values():
            if took := node.get("python"):
                calls.add_metric([node["name"]], took["calls"])
                seconds.add_metric([node["name"]], took["seconds"])
                waited.add_metric([node["name"]], took["wait_seconds"])
        yield from (calls, seconds, waited)

    @staticmethod
    def _lookup_metrics(status: Status) -> Iterator[Metric]:
        """Lookup tables: how large, how old, how often refreshed."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        rows = GaugeMetricFamily("frazil_lookup_rows", "Rows of a lookup table", labels=["lookup"])
        size = GaugeMetricFamily("frazil_lookup_bytes", "Memory of it", labels=["lookup"])
        age = GaugeMetricFamily(
            "frazil_lookup_age_seconds", "Since its version was loaded", labels=["lookup"]
        )
        refreshes = CounterMetricFamily(
            "frazil_lookup_refreshes", "Newer versions taken", labels=["lookup"]
        )
        failures = CounterMetricFamily(
            "frazil_lookup_failures", "Refreshes that failed", labels=["lookup"]
        )
        for name, table in status.lookups.items():
            rows.add_metric([name], table.rows)
            size.add_metric([name], table.bytes)
            age.add_metric([name], max(0.0, time.time() - table.loaded_us / 1e6))
            refreshes.add_metric([name], table.refreshes)
            failures.add_metric([name], table.failures)
        yield from (rows, size, age, refreshes, failures)

    @staticmethod
    def _time_metrics(status: Status, now: float) -> Iterator[Metric]:
        """Event time, and what windows keep and refuse."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        watermark = GaugeMetricFamily(
            "frazil_watermark_seconds", "Watermark of a step, since 1970", labels=["node"]
        )
        late = CounterMetricFamily("frazil_rows_late", "Rows late for a window", labels=["node"])
        state = GaugeMetricFamily(
            "frazil_state_bytes", "State, in memory or spilled", labels=["node"]
        )
        frontier = GaugeMetricFamily(
            "frazil_frontier_seconds",
            "Largest event time of a partition, since 1970",
            labels=["node", "partition"],
        )
        held = GaugeMetricFamily(
            "frazil_watermark_held_seconds",
            "How long a partition has held the watermark up while others advance",
            labels=["node", "partition"],
        )
        for step, node in status.metrics.get("nodes", {}).items():
            name = status.times.names.get(step, node["name"])
            if "watermark" in node:
                watermark.add_metric([node["name"]], node["watermark"] / 1e6)
            if "late" in node:
                late.add_metric([name], node["late"])
            if "state_bytes" in node:
                state.add_metric([node["name"]], node["state_bytes"])
            for partition, at in node.get("frontiers", {}).items():
                if at is not None:
                    frontier.add_metric([name, partition], at / 1e6)
        for step, (partition, since) in status.times.held().items():
            held.add_metric([status.times.names.get(step, step), partition], now - since)
        yield from (watermark, late, state, frontier, held)
