"""A folder with catalog, tables and checkpoints, and processes that work in it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from frazil.checkpoint.log import EXIT_FENCED
from pyiceberg.catalog import Catalog, load_catalog

from tests.crash.child import EXIT_ERROR, Run, main
from tests.crash.pipelines import PIPELINES, ROWS, catalog_properties
from tests.model.event_log import EventLog

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from tests.services.duckdb_reader import DuckdbReader

# How long a process may take to end or to stop (seconds). Past it, the test fails.
PATIENCE_S = 60.0

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.crash.child", "pyiceberg.catalog.sql"])


class Process:
    """A process of a scene."""

    def __init__(self, run: Run, number: int) -> None:
        self._process = _server.Process(target=main, args=(run, number), daemon=True)
        self._process.start()
        self.run, self.number = run, number

    def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        self._process.join(PATIENCE_S)
        code = self._process.exitcode
        if code is None:
            self.signal(signal.SIGKILL)
            raise AssertionError(f"{self.run} hangs\n{self.output}")
        return code

    def wait_until_stopped(self) -> None:
        """Wait until it has stopped itself at its point."""
        deadline = time.monotonic() + PATIENCE_S
        while self._state() != "T":
            assert self._process.is_alive(), f"{self.run} ended before it\n{self.output}"
            assert time.monotonic() < deadline, f"{self.run} does not reach it\n{self.output}"
            time.sleep(0.01)

    def resume(self) -> None:
        """Wake it."""
        self.signal(signal.SIGCONT)

    def wait_a_little(self) -> None:
        """Let it go on, to its end if that comes soon."""
        self._process.join(0.5)

    def end(self) -> None:
        """Wait for the end of one of two processes at once: it may have had to give way."""
        code = self.wait()
        late = code == EXIT_ERROR and self.error.startswith("LogAdvancing")
        assert late or code in (0, EXIT_FENCED), f"ended with {code}\n{self.output}"

    @property
    def error(self) -> str:
        """The error that it ended with."""
        return (self.run.folder / f"error-{self.number}.txt").read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill it."""
        self.signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL, self.output

    @property
    def output(self) -> str:
        """What it has said."""
        return (self.run.folder / f"run-{self.number}.txt").read_text()

    def _state(self) -> str:
        try:
            return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return "gone"


class Scene:
    """One test's folder."""

    def __init__(self, folder: Path, reader: DuckdbReader) -> None:
        self.folder = folder
        self._reader = reader
        self._processes: list[Process] = []

    # -- processes -------------------------------------------------------------------------------

    def start(self, pipeline: str = "one_table", point: str = "", **options: Any) -> Process:
        """Start a process."""
        run = Run(folder=self.folder, pipeline=pipeline, point=point, **options)
        process = Process(run, len(self._processes))
        self._processes.append(process)
        return process

    def kill(self, point: str, pipeline: str = "one_table", **options: Any) -> None:
        """Run a process that is killed at a point."""
        process = self.start(pipeline, point, **options)
        code = process.wait()
        assert code == -signal.SIGKILL, f"ended with {code} before {point}\n{process.output}"

    def freeze(self, point: str, pipeline: str = "one_table", **options: Any) -> Process:
        """Run a process until it stops itself at a point."""
        process = self.start(pipeline, point, action="stop", **options)
        process.wait_until_stopped()
        return process

    def finish(self, pipeline: str = "one_table", **options: Any) -> None:
        """Run a process to the end of the rows."""
        process = self.start(pipeline, **{"rate": None, **options})
        code = process.wait()
        assert code == 0, f"ended with {code}\n{process.output}"

    def refused(self, pipeline: str = "one_table", **options: Any) -> str:
        """Run a process that is to end with an error, which is returned."""
        process = self.start(pipeline, **options)
        code = process.wait()
        assert code == EXIT_ERROR, f"ended with {code}\n{process.output}"
        return process.error

    def close(self) -> None:
        """End what still runs, which only a failed test leaves."""
        for process in self._processes:
            if process.alive:
                process.signal(signal.SIGKILL)
                process.wait()

    # -- what others do --------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The catalog, as another program opens it."""
        return load_catalog("default", **catalog_properties(self.folder, timeout_s=30))

    def table(self, name: str = "t.one") -> Table:
        """A table, as another program opens it."""
        return self.catalog.load_table(name)

    def append(self, ids: Sequence[int]) -> None:
        """Another program appends rows to t.one."""
        table = self.table()
        table.append(
            pa.table(
                {"id": list(ids), "country": ["XX"] * len(ids)}, table.scan().to_arrow().schema
            )
        )

    def compact(self) -> None:
        """Another program rewrites t.one."""
        table = self.table()
        assert table.metadata.current_snapshot_id is not None
        table.overwrite(table.scan().to_arrow())

    def expire(self) -> None:
        """Another program expires all snapshots of t.one that are not referenced."""
        now = datetime.now() + timedelta(days=1)
        self.table().maintenance.expire_snapshots().older_than(now).commit()

    def set_head(self, snapshot: int) -> None:
        """Another program sets the branch to a snapshot."""
        with self.table().manage_snapshots() as manage:
            manage.set_current_snapshot(snapshot)

    @property
    def head(self) -> int:
        """The head of t.one."""
        found = self.table().metadata.current_snapshot_id
        assert found is not None
        return found

    @contextmanager
    def catalog_away(self) -> Iterator[None]:
        """The catalog answers nobody."""
        with closing(sqlite3.connect(self.folder / "catalog.db", isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            yield
            database.execute("ROLLBACK")

    def slots(self, pipeline: str = "one") -> list[Path]:
        """Files of the checkpoint log."""
        return sorted((self.folder / "checkpoints" / pipeline / "log").iterdir())

    def wait_for_slots(self, more: int, process: Process, pipeline: str = "one") -> None:
        """Wait until the newest slot is that much higher."""
        goal = int(self.slots(pipeline)[-1].stem) + more
        deadline = time.monotonic() + PATIENCE_S
        while int(self.slots(pipeline)[-1].stem) < goal:
            assert process.alive, process.output
            assert time.monotonic() < deadline, process.output
            time.sleep(0.01)

    def wait_for_rows(self, process: Process) -> None:
        """Wait until a commit to t.one has been reported."""
        events = self.folder / "events-one.jsonl"
        deadline = time.monotonic() + PATIENCE_S
        while not events.exists() or '"landed"' not in events.read_text():
            assert process.alive, process.output
            assert time.monotonic() < deadline, process.output
            time.sleep(0.01)

    # -- what must hold --------------------------------------------------------------------------

    def ids(self, name: str = "t.one") -> list[int]:
        """The ids in a table, as DuckDB reads them."""
        return sorted(self.rows(name).column("id").to_pylist())

    def rows(self, name: str = "t.one") -> pa.Table:
        """The rows of a table, as DuckDB reads them."""
        return self._reader.read_iceberg(self.table(name).metadata_location)

    def check(
        self,
        *,
        table: str = "t.one",
        expected: Sequence[int] = range(ROWS),
        pipeline: str = "one_table",
    ) -> None:
        """Every row is there once, and the log did only what the protocol allows."""
        found = self.ids(table)
        wanted = sorted(expected)
        if found != wanted:
            lost = sorted(set(wanted) - set(found))
            doubled = sorted((Counter(found) - Counter(wanted)).elements())
            raise AssertionError(
                f"{len(found)} rows, lost {len(lost)}: {lost[:9]}, "
                f"doubled {len(doubled)}: {doubled[:9]}"
            )
        self.check_log(pipeline)

    def check_log(self, pipeline: str = "one_table") -> None:
        """The log did only what the protocol allows."""
        made = PIPELINES[pipeline](self.folder, catalog_properties(self.folder), None)
        sinks = [node["id"] for node in made.plan.json["nodes"] if node["kind"] == "sink"]
        lines = (self.folder / f"events-{made.name}.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        # A sink with many tables is a sink of the log for each.
        tables = {event["sink"] for event in events if event["kind"] == "landed"}
        EventLog([*sinks, *sorted(tables - set(sinks))]).check(events)

    def check_no_orphans(self, name: str = "t.one") -> None:
        """Every data file on disk belongs to the table: nothing of the dead is left.

        Files of deletes are metadata, of which a try of a dead process leaves what it was making.
        """
        table = self.table(name)
        named = {
            path.removeprefix("file://")
            for path in table.inspect.all_files().column("file_path").to_pylist()
        }
        data = Path(table.location().removeprefix("file://")) / "data"
        on_disk = {str(path) for path in data.rglob("*") if path.suffix in (".parquet", ".puffin")}
        on_disk -= {path for path in on_disk - named if "-deletes-" in path}
        assert on_disk == named, f"orphans {on_disk - named}, missing {named - on_disk}"
