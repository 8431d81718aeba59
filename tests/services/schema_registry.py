"""A schema registry: Apicurio from Maven Central, with Confluent's API."""

import json
import tarfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tests.services.cache import install, run_tool
from tests.services.maven import JAVA_FLAGS, java_tool
from tests.services.ports import free_port
from tests.services.process import Process

# The last version that runs on Java 17.
APICURIO_VERSION = "2.6.13.Final"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"


def fetch_registry() -> Path:
    """Return the folder with the registry's jars, fetched on first use."""

    def build(folder: Path) -> None:
        run_tool(
            [java_tool("mvn"), "-q", "-B", "-U", _COPY, f"-Dartifact={_ARTIFACT}",
             f"-DoutputDirectory={folder}"],
            cwd=folder,
        )  # fmt: skip
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        archive.unlink()

    return install(f"apicurio-{APICURIO_VERSION}", build)


class SchemaRegistry:
    """A registry that keeps its port over stop, kill and start. Its schemas are in memory only."""

    def __init__(self, run_dir: Path) -> None:
        port, management = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        (jar,) = fetch_registry().glob("*run*.jar")
        self._process = Process(
            "schema_registry",
            [java_tool("java"), *JAVA_FLAGS, "-jar", jar],
            run_dir=run_dir,
            env={
                "QUARKUS_HTTP_HOST": "127.0.0.1",
                "QUARKUS_HTTP_PORT": str(port),
                "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
                "QUARKUS_MANAGEMENT_PORT": str(management),
            },
        )

    def start(self) -> None:
        """Start the registry, empty."""
        self._process.start(self._answers)

    def stop(self) -> None:
        """Stop the registry in good order."""
        self._process.stop()

    def pause(self) -> None:
        """Freeze the registry: connections stay open, nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let a paused registry go on."""
        self._process.resume()

    @property
    def running(self) -> bool:
        """Whether the registry's process lives."""
        return self._process.running

    def register(
        self,
        subject: str,
        schema: Any,
        *,
        kind: str = "AVRO",
        references: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Register a schema (JSON, or the text of another kind) and return its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = {"schema": text, "schemaType": kind, "references": list(references)}
        request = urllib.request.Request(
            f"{self.url}/subjects/{subject}/versions",
            json.dumps(body).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["id"])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False
