"""Reads Iceberg tables with Iceberg's Java library, the reference for what a table holds."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.services.iceberg_java import JAVA_S3_PROPERTIES, fetch_program
from tests.services.process import Process, ServiceError
from tests.services.s3 import S3

# Seconds one read may take.
READ_SECONDS_MAX = 120.0


class JavaReader:
    """A reader process that answers one read after another; safe for use by several threads.

    Rows come as dictionaries by column name, in the order in which the files hold them:

    - int, long, float, double, boolean, string: the Python value; NaN and infinities are floats
    - decimal: a string, "-1.50"; uuid: a string, "6f1b..-.."
    - date "2026-01-31"; time "12:30:00.000000"; timestamp "2026-01-31T12:30:00.000000"; with a zone
      "...+00:00"; nanosecond timestamps with nine digits
    - binary, fixed: hex in lower case
    - struct: a dictionary; list: a list; map: a list of [key, value]

    `tests.services.rows` brings Arrow tables into the same form.
    """

    def __init__(self, run_dir: Path) -> None:
        self._lock = threading.Lock()
        command = fetch_program("TableReader")
        self._process = Process("java_reader", command, run_dir=run_dir, pipes=True)

    def start(self) -> None:
        """Start the reader's process; it answers as soon as its Java machine is up."""
        self._process.start(lambda: True)

    def stop(self) -> None:
        """Stop the reader's process."""
        self._process.stop()

    def resume(self) -> None:
        """Do what every service can; a reader is never paused."""

    @property
    def running(self) -> bool:
        """Whether the reader's process lives."""
        return self._process.running

    def read(
        self,
        metadata_location: str,
        *,
        s3: S3 | None = None,
        snapshot: int | None = None,
        lineage: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the rows of the table whose metadata.json lies at file://... or s3://...

        With `lineage` they have _row_id and _last_updated_sequence_number too.
        """
        return self._ask(
            {
                "location": metadata_location,
                "lineage": lineage,
                "properties": _file_properties(s3),
                "snapshot": snapshot,
            }
        )

    def read_rest(
        self, uri: str, table: str, *, s3: S3 | None = None, snapshot: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of `namespace.table` in the REST catalog at `uri`."""
        return self._ask(
            {
                "uri": uri,
                "table": table,
                "properties": _file_properties(s3),
                "snapshot": snapshot,
            }
        )

    def _ask(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        what = request.get("location") or f"{request['table']} at {request['uri']}"
        with self._lock:
            popen = self._process.popen
            assert popen.stdin is not None
            assert popen.stdout is not None
            # A reader that hangs is killed, and then its output ends.
            watchdog = threading.Timer(READ_SECONDS_MAX, popen.kill)
            watchdog.start()
            rows: list[dict[str, Any]] = []
            try:
                popen.stdin.write(json.dumps(request).encode() + b"\n")
                popen.stdin.flush()
                for line in popen.stdout:
                    if not line.startswith(b"#"):
                        rows.append(json.loads(line))
                        continue
                    return self._finish(what, line.decode(errors="replace"), rows)
            except BrokenPipeError:
                pass  # it died; said below
            finally:
                watchdog.cancel()
        raise ServiceError(f"reading {what}: the Java reader ended: {self._process.log_tail()}")

    @staticmethod
    def _finish(what: str, line: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        word, _, text = line.strip().partition(" ")
        if word != "#end":
            raise ServiceError(f"reading {what} with Java: {text}")
        if int(text) != len(rows):
            raise ServiceError(f"reading {what} with Java: {len(rows)} rows came, it sent {text}")
        return rows


def _file_properties(s3: S3 | None) -> dict[str, str]:
    return {} if s3 is None else {**s3.iceberg_properties, **JAVA_S3_PROPERTIES}
