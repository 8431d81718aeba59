"""Fixtures of the databases and of Kafka Connect, which end with their module."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.conftest import _end, _serve

if TYPE_CHECKING:
    from tests.services.connect import Connect
    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Mariadb"]:
    """A MariaDB server with a binary log of rows."""
    from tests.services.mariadb import Mariadb

    service = Mariadb(tmp_path_factory.mktemp("mariadb"))
    _serve(service)
    yield service
    _end(service)


@pytest.fixture(scope="module")
def connect(tmp_path_factory: pytest.TempPathFactory, kafka: "Kafka") -> Iterator["Connect"]:
    """A worker of Kafka Connect with Debezium's connectors."""
    from tests.services.connect import Connect

    service = Connect(tmp_path_factory.mktemp("connect"), kafka)
    _serve(service)
    yield service
    _end(service)
