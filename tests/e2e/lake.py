"""What pipelines of these tests write to: tables in S3 behind a REST catalog, read by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import frazil as fz
from pyiceberg.catalog import load_catalog

from tests.services.rows import arrow_rows, sorted_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.rest_catalog import RestCatalog
    from tests.services.s3 import S3

# Where pipelines find the keys of the S3 server.
ACCESS_KEY, SECRET_KEY = "FRAZIL_TEST_S3_KEY", "FRAZIL_TEST_S3_SECRET"
# The bucket of the REST catalog's tables; checkpoints go beside them.
CHECKPOINT = "s3://warehouse/checkpoints"


class Lake:
    """Tables by name, the pipelines that write them, and two readers that are not ours."""

    def __init__(
        self, catalog: RestCatalog, s3: S3, java: JavaReader, duckdb: DuckdbReader
    ) -> None:
        self.service = catalog
        self.s3 = s3
        self._java = java
        self._duckdb = duckdb

    @property
    def environment(self) -> dict[str, str]:
        """Variables that a process with such a pipeline needs."""
        return {ACCESS_KEY: self.s3.access_key, SECRET_KEY: self.s3.secret_key}

    @property
    def catalog(self) -> dict[str, Any]:
        """The `catalog=` of a writer."""
        return {
            "type": "rest",
            "uri": self.service.uri,
            "s3.endpoint": self.s3.endpoint,
            "s3.region": self.s3.region,
            "s3.access-key-id": fz.secret(ACCESS_KEY),
            "s3.secret-access-key": fz.secret(SECRET_KEY),
            "s3.path-style-access": "true",
        }

    def reader(self) -> Catalog:
        """The catalog as PyIceberg sees it."""
        return load_catalog("reader", **self.service.properties)

    def table(self, name: str) -> Table:
        """The table as PyIceberg sees it."""
        return self.reader().load_table(name)

    def by_duckdb(self, metadata_location: str) -> pa.Table:
        """The rows of a table by DuckDB alone."""
        return self._duckdb.read_iceberg(metadata_location, s3=self.s3)

    def read(self, name: str) -> pa.Table:
        """Its rows by DuckDB; Java must have found the same."""
        location = self.table(name).metadata_location
        rows = self._duckdb.read_iceberg(location, s3=self.s3)
        by_java = self._java.read_rest(self.service.uri, name, s3=self.s3)
        assert sorted_lines(by_java) == sorted_lines(arrow_rows(rows))
        return rows

    def slots(self, name: str) -> list[int]:
        """The checkpoints that its snapshots stand for, oldest first."""
        snapshots = sorted(
            self.table(name).metadata.snapshots, key=lambda each: each.sequence_number or 0
        )
        return [
            int(each.summary.additional_properties["frazil.slot"])
            for each in snapshots
            if each.summary is not None
        ]
