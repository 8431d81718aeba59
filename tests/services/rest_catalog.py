"""An Iceberg REST catalog: Iceberg's own servlet, over S3 or over local files."""

import urllib.request
from pathlib import Path
from urllib.error import URLError

from tests.services.iceberg_java import JAVA_S3_PROPERTIES, fetch_program
from tests.services.ports import free_port
from tests.services.process import Process
from tests.services.s3 import S3


class RestCatalog:
    """A catalog that keeps its port and tables over stop, kill and start.

    Its tables lie in `warehouse`: s3://<bucket>/... of the given S3, or a local folder without one.
    """

    def __init__(self, run_dir: Path, *, s3: S3 | None = None, bucket: str = "warehouse") -> None:
        self._port = free_port()
        self._s3 = s3
        self.uri = f"http://127.0.0.1:{self._port}"
        run_dir.mkdir(parents=True, exist_ok=True)
        if s3 is None:
            self.warehouse = f"file://{run_dir.resolve()}/warehouse"
        else:
            self.warehouse = f"s3://{s3.create_bucket(bucket)}/tables"
        settings = run_dir / "catalog.properties"
        given = {
            "uri": f"jdbc:sqlite:{run_dir.resolve()}/catalog.db",
            "jdbc.schema-version": "V1",
            "clients": "1",  # SQLite takes one writer; two connections would answer "locked"
            "warehouse": self.warehouse,
            "io-impl": "org.apache.iceberg.io.ResolvingFileIO",
            **self.java_file_properties,
        }
        settings.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        command = [*fetch_program("RestCatalog"), str(self._port), str(settings)]
        self._process = Process("rest_catalog", command, run_dir=run_dir)

    def start(self) -> None:
        """Start the catalog, on the tables of the last run if there are any."""
        self._process.start(self._answers)

    def stop(self) -> None:
        """Stop the catalog in good order."""
        self._process.stop()

    def kill(self) -> None:
        """End the catalog at once (kill -9)."""
        self._process.kill()

    def pause(self) -> None:
        """Freeze the catalog: connections stay open, nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let a paused catalog go on."""
        self._process.resume()

    @property
    def running(self) -> bool:
        """Whether the catalog's process lives."""
        return self._process.running

    @property
    def properties(self) -> dict[str, str]:
        """What pyiceberg.catalog.load_catalog(name, **properties) wants."""
        files = {} if self._s3 is None else self._s3.iceberg_properties
        return {"type": "rest", "uri": self.uri, **files}

    @property
    def java_file_properties(self) -> dict[str, str]:
        """What Java's FileIO wants to reach the warehouse."""
        return {} if self._s3 is None else {**self._s3.iceberg_properties, **JAVA_S3_PROPERTIES}

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/v1/config", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False
