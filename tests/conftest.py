"""Fixtures of the real services: started when a test first asks, stopped when the run ends."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from tests.services.duckdb_reader import DuckdbReader
    from tests.services.java_reader import JavaReader
    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres
    from tests.services.rest_catalog import RestCatalog
    from tests.services.s3 import S3
    from tests.services.schema_registry import SchemaRegistry

# Service modules are imported inside the fixtures: `make test-fast` must not need what they need.


class _Service(Protocol):
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def resume(self) -> None: ...


_started: list[_Service] = []
_fallbacks: list[str] = []


def _serve(service: _Service) -> None:
    service.start()
    _started.append(service)


def _end(service: _Service) -> None:
    _started.remove(service)
    service.stop()


@pytest.fixture(autouse=True)
def _restart_services() -> Iterator[None]:
    """Bring back what a test stopped, killed or paused, so that the next one finds it running."""
    yield
    for service in _started:
        if service.running:
            service.resume()
        else:
            service.start()


@pytest.fixture(scope="session", autouse=True)
def _end_services() -> Iterator[None]:
    """End whatever a fixture did not stop itself."""
    yield
    from tests.services.process import stop_all

    stop_all()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Kafka"]:
    """A Kafka broker with plain, SASL and TLS listeners."""
    from tests.services.kafka import Kafka

    service = Kafka(tmp_path_factory.mktemp("kafka"))
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Postgres"]:
    """A PostgreSQL server with logical replication."""
    from tests.services.postgres import Postgres

    service = Postgres(tmp_path_factory.mktemp("postgres"))
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator["S3"]:
    """An S3 server that checks signatures and conditions."""
    from tests.services.s3 import S3

    service = S3(tmp_path_factory.mktemp("s3"))
    if service.fallback_reason is not None:
        _fallbacks.append(f"S3 is moto, not versitygw: {service.fallback_reason}")
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="session")
def rest_catalog(tmp_path_factory: pytest.TempPathFactory, s3: "S3") -> Iterator["RestCatalog"]:
    """An Iceberg REST catalog whose tables lie in S3."""
    from tests.services.rest_catalog import RestCatalog

    service = RestCatalog(tmp_path_factory.mktemp("rest_catalog"), s3=s3)
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="session")
def local_rest_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RestCatalog"]:
    """An Iceberg REST catalog whose tables lie in local files."""
    from tests.services.rest_catalog import RestCatalog

    service = RestCatalog(tmp_path_factory.mktemp("local_rest_catalog"))
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="session")
def schema_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SchemaRegistry"]:
    """A schema registry with Confluent's API."""
    from tests.services.schema_registry import SchemaRegistry

    service = SchemaRegistry(tmp_path_factory.mktemp("schema_registry"))
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="session")
def java_reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator["JavaReader"]:
    """Iceberg's Java library, reading tables."""
    from tests.services.java_reader import JavaReader

    service = JavaReader(tmp_path_factory.mktemp("java_reader"))
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="session")
def duckdb_reader() -> Iterator["DuckdbReader"]:
    """DuckDB, reading Iceberg tables; needs neither Java nor a service."""
    from tests.services.duckdb_reader import DuckdbReader

    reader = DuckdbReader()
    yield reader
    reader.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly when a weaker service stood in for a real one."""
    for fallback in _fallbacks:
        terminalreporter.write_sep("!", "WEAKER SERVICE USED", red=True, bold=True)
        terminalreporter.write_line(fallback, red=True)
