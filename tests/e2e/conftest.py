"""Fixtures of whole pipelines."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.lake import Lake
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.rest_catalog import RestCatalog
    from tests.services.s3 import S3


@pytest.fixture
def lake(
    rest_catalog: "RestCatalog",
    s3: "S3",
    java_reader: "JavaReader",
    duckdb_reader: "DuckdbReader",
    monkeypatch: pytest.MonkeyPatch,
) -> "Lake":
    """Tables in S3 behind a REST catalog."""
    from tests.e2e.lake import Lake

    made = Lake(rest_catalog, s3, java_reader, duckdb_reader)
    for variable, value in made.environment.items():
        monkeypatch.setenv(variable, value)
    return made
