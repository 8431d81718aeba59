"""Reads Iceberg tables with DuckDB and its extensions from PyPI; none is downloaded at run time."""

import importlib.util
import threading
from pathlib import Path
from urllib.parse import urlparse

import duckdb
import pyarrow as pa

from tests.services.s3 import S3

# In this order: iceberg looks for avro and would download it.
_EXTENSIONS = ("avro", "httpfs", "iceberg")


class DuckdbReader:
    """Reads tables by the location of their metadata.json; safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = iceberg_database(memory_limit="512MB", threads=2)
        self._connection.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def read_iceberg(
        self, metadata_location: str, *, s3: S3 | None = None, snapshot: int | None = None
    ) -> pa.Table:
        """Return the rows of the table whose metadata.json lies at file://... or s3://..."""
        location = metadata_location.removeprefix("file://")
        chosen = "" if snapshot is None else f", snapshot_from_id => {snapshot:d}"
        with self._lock:
            if s3 is not None:
                self._connection.execute(_secret(s3))
            scan = f"SELECT * FROM iceberg_scan({_quoted(location)}{chosen})"
            return self._connection.execute(scan).to_arrow_table()


def iceberg_database(*, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    """A database in memory that can read Iceberg tables."""
    config = {"autoinstall_known_extensions": "false", "memory_limit": memory_limit}
    connection = duckdb.connect(config={**config, "threads": str(threads)})
    for name in _EXTENSIONS:
        connection.load_extension(str(_extension_file(name)))
    return connection


def _extension_file(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise ImportError(f"looking for the package duckdb-extension-{name}: not installed")
    folder = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return folder / f"{name}.duckdb_extension"


def _secret(s3: S3) -> str:
    return (
        "CREATE OR REPLACE SECRET frazil_test (TYPE s3, URL_STYLE 'path', USE_SSL false, "
        f"ENDPOINT {_quoted(urlparse(s3.endpoint).netloc)}, REGION {_quoted(s3.region)}, "
        f"KEY_ID {_quoted(s3.access_key)}, SECRET {_quoted(s3.secret_key)})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
