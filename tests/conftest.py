"""Fixtures of the real services: started when a test first asks, stopped when the run ends."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly when a weaker service stood in for a real one."""
    for fallback in _fallbacks:
        terminalreporter.write_sep("!", "WEAKER SERVICE USED", red=True, bold=True)
        terminalreporter.write_line(fallback, red=True)
