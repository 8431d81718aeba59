"""Apache Iceberg's Java library, for the REST catalog and the reader."""

import subprocess
from pathlib import Path

from tests.services.maven import JAVA_FLAGS, classes, jars, java_tool

# The newest whose `tests` jar, which holds the REST servlet, is published.
ICEBERG_VERSION = "1.11.0"
_AWS_VERSION = "2.33.0"
_HADOOP_VERSION = "3.4.1"
_ARTIFACTS = (
    f"org.apache.iceberg:iceberg-core:{ICEBERG_VERSION}",
    f"org.apache.iceberg:iceberg-core:{ICEBERG_VERSION}:tests",
    f"org.apache.iceberg:iceberg-data:{ICEBERG_VERSION}",
    f"org.apache.iceberg:iceberg-parquet:{ICEBERG_VERSION}",
    f"org.apache.iceberg:iceberg-orc:{ICEBERG_VERSION}",  # the readers' registry names it
    f"org.apache.iceberg:iceberg-aws:{ICEBERG_VERSION}",
    *(
        f"software.amazon.awssdk:{module}:{_AWS_VERSION}"
        for module in ("s3", "sts", "kms", "glue", "dynamodb", "url-connection-client")
    ),
    f"org.apache.hadoop:hadoop-client-api:{_HADOOP_VERSION}",
    f"org.apache.hadoop:hadoop-client-runtime:{_HADOOP_VERSION}",
    "org.eclipse.jetty:jetty-servlet:11.0.26",
    "org.xerial:sqlite-jdbc:3.50.3.0",
    "org.slf4j:slf4j-simple:2.0.17",
)
# Seconds that one rewrite may take.
COMPACT_SECONDS_MAX = 120.0

_SOURCES = Path(__file__).parent / "java"

# What Java's S3FileIO needs beside PyIceberg's properties.
JAVA_S3_PROPERTIES = {"http-client.type": "urlconnection", "client.region": "us-east-1"}


def fetch_iceberg() -> Path:
    """Return the folder with the jars, fetched on first use."""
    return jars(f"iceberg-{ICEBERG_VERSION}", _ARTIFACTS)


def fetch_program(name: str) -> list[str]:
    """Return the command of a program in java/, compiled on first use."""
    lib = fetch_iceberg()
    compiled = classes(name, _SOURCES / f"{name}.java", lib)
    return [java_tool("java"), *JAVA_FLAGS, "-cp", f"{compiled}:{lib}/*", name]


def compact_with_java(uri: str, table: str) -> str:
    """Rewrite all data files of a table in a REST catalog; "compacted", or "conflict"."""
    command = [*fetch_program("TableCompactor"), uri, table]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPACT_SECONDS_MAX)
    if done.returncode:
        raise RuntimeError(f"compacting {table} with Java: {done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]
