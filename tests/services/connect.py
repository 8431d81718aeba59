"""Kafka Connect from Maven Central: one distributed worker, with Debezium's connectors."""

import contextlib
import itertools
import json
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from tests.services.kafka import Kafka
from tests.services.maven import JAVA_FLAGS, jars, java_tool
from tests.services.ports import free_port
from tests.services.process import Process, ServiceError

CONNECT_VERSION = "4.3.1"
_ARTIFACTS = (
    f"org.apache.kafka:connect-runtime:{CONNECT_VERSION}",
    f"org.apache.kafka:connect-json:{CONNECT_VERSION}",
    f"org.apache.kafka:connect-transforms:{CONNECT_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
)
# MariaDB's connector of 3.6 does not start against MariaDB 10.11.
_CONNECTORS = {
    "postgres": "io.debezium:debezium-connector-postgres:3.6.1.Final",
    "mariadb": "io.debezium:debezium-connector-mariadb:3.5.0.Final",
}
# Seconds a connector may take until its task runs.
CONNECTOR_SECONDS_MAX = 60.0

_LOG4J = """<Configuration><Appenders><Console name="C">
<PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="info"><AppenderRef ref="C"/></Root></Loggers></Configuration>
"""

_PROPERTIES = """bootstrap.servers={bootstrap}
group.id={group}
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
offset.flush.interval.ms=500
scheduled.rebalance.max.delay.ms=0
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
listeners=http://127.0.0.1:{port}
plugin.path={plugins}
plugin.discovery=service_load
"""


def fetch_connect() -> Path:
    """Return the folder with the worker's jars, fetched on first use."""
    return jars(f"connect-{CONNECT_VERSION}", _ARTIFACTS)


def fetch_connector(name: str) -> Path:
    """Return the folder with a connector's jars, fetched on first use."""
    artifact = _CONNECTORS[name]
    return jars(f"debezium-{name}-{artifact.rpartition(':')[2]}", [artifact])


class Connect:
    """A worker that keeps its port, connectors and offsets over stop, kill and start.

    Its topics are in the broker that is given.
    """

    def __init__(self, run_dir: Path, kafka: Kafka) -> None:
        self._run_dir = run_dir
        self._kafka = kafka
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._starts = itertools.count(1)
        plugins = run_dir / "plugins"
        plugins.mkdir(parents=True)
        for name in _CONNECTORS:  # each a folder of its own: they do not share libraries
            (plugins / name).symlink_to(fetch_connector(name))
        (run_dir / "log4j2.xml").write_text(_LOG4J)
        command: list[str | Path] = [java_tool("java"), *JAVA_FLAGS, "-Xmx384m",
                   f"-Dlog4j2.configurationFile={run_dir}/log4j2.xml",
                   "-cp", f"{fetch_connect()}/*",
                   "org.apache.kafka.connect.cli.ConnectDistributed",
                   run_dir / "worker.properties"]  # fmt: skip
        self._process = Process("connect", command, run_dir=run_dir)

    # -- the worker as a process

    def start(self) -> None:
        """Start the worker; connectors that it had go on where their offsets say."""
        # In a group of its own: in the one of a killed worker it would have to wait until the
        # broker knows that this one is gone. Offsets are by connector, not by group.
        properties = _PROPERTIES.format(
            bootstrap=self._kafka.bootstrap,
            group=f"connect-{next(self._starts)}",
            port=self._port,
            plugins=self._run_dir / "plugins",
        )
        (self._run_dir / "worker.properties").write_text(properties)
        self._process.start(self._answers)

    def stop(self) -> None:
        """Stop the worker in good order: what it has read is sent."""
        self._process.stop()

    def kill(self) -> None:
        """End the worker at once (kill -9)."""
        self._process.kill()

    def resume(self) -> None:
        """Let a paused worker go on."""
        self._process.resume()

    @property
    def running(self) -> bool:
        """Whether the worker's process lives."""
        return self._process.running

    # -- connectors

    def connect(self, name: str, config: Mapping[str, Any]) -> None:
        """Make a connector, or give it another configuration; its task runs at the return."""
        self._ask("PUT", f"/connectors/{name}/config", dict(config))
        self.wait_running(name)

    def wait_running(self, name: str) -> None:
        """Wait until the task of a connector runs."""
        deadline = time.monotonic() + CONNECTOR_SECONDS_MAX
        while time.monotonic() < deadline:
            status: Any = {}
            with contextlib.suppress(HTTPError):  # a connector that is only being made: 404
                status = self._ask("GET", f"/connectors/{name}/status")
            tasks = status.get("tasks", [])
            if any(task["state"] == "FAILED" for task in tasks):
                raise ServiceError(f"running connector {name}: {tasks[0].get('trace', tasks)}")
            if tasks and all(task["state"] == "RUNNING" for task in tasks):
                return
            time.sleep(0.05)
        raise ServiceError(f"running connector {name}: no task: {self._process.log_tail()}")

    def remove(self, name: str) -> None:
        """Remove a connector."""
        self._ask("DELETE", f"/connectors/{name}")

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/connectors")
        except (URLError, OSError):
            return False
        return True

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self.uri + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + CONNECTOR_SECONDS_MAX
        while True:
            try:
                with urllib.request.urlopen(request, timeout=CONNECTOR_SECONDS_MAX) as answer:
                    text = answer.read()
                    return json.loads(text) if text else None
            except HTTPError as error:
                # 409: the worker takes up what has changed, ask again; also said in its manual.
                if error.code != 409 or time.monotonic() > deadline:
                    if error.code != 404:
                        error.add_note(error.read().decode(errors="replace"))
                    raise
                error.close()
            time.sleep(0.05)
