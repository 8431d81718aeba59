"""What `pip install .` gives in an environment that has nothing else."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import frazil as fz
import pytest
from moto.server import ThreadedMotoServer

from tests.packaging.conftest import command

pytestmark = pytest.mark.slow

BATCH = """
import frazil as fz
from frazil import col

rows = fz.read_generator(rows=1000, seed=7)
kept = rows.filter(col("id") >= 100)
memory = kept.write_memory()
pipeline = fz.Pipeline("tiny", kept.write_iceberg("shop.events"), memory)
"""

INTO_S3 = """
import os
import frazil as fz

os.environ["STORE_KEY"] = "testing"
catalog = {{
    "type": "sql",
    "uri": "sqlite:///catalog.db",
    "warehouse": "s3://{bucket}/{folder}",
    "s3.endpoint": "{endpoint}",
    "s3.access-key-id": fz.secret("STORE_KEY"),
    "s3.secret-access-key": fz.secret("STORE_KEY"),
    "s3.region": "us-east-1",
}}
rows = fz.read_generator(rows=500)
pipeline = fz.Pipeline("s3", rows.write_iceberg("shop.events", catalog=catalog))
report = pipeline.run(until="now")
"""


def python(installed: Path, program: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return command(installed / "python", "-c", program, cwd=cwd, check=False)


def test_command_line(installed: Path, tmp_path: Path) -> None:
    said = command(installed / "frazil", "--version", cwd=tmp_path).stdout
    assert fz.__version__ in said


def test_nothing_of_the_checkout_is_used(installed: Path, tmp_path: Path) -> None:
    program = "import frazil, frazil._engine as e; print(frazil.__file__); print(e.__file__)"
    done = python(installed, program, tmp_path)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert line.startswith(str(installed.parent)), line


def test_types_come_with_it(installed: Path) -> None:
    (package,) = installed.parent.glob("lib/python3*/site-packages/frazil")
    assert (package / "py.typed").exists()
    assert (package / "_engine.pyi").exists()
    assert not list(package.glob("**/*.cc"))


@pytest.mark.parametrize("last", ["", "raise SystemExit(3)", "1 / 0"])
def test_pipeline_and_exit_code(installed: Path, tmp_path: Path, last: str) -> None:
    program = f"{BATCH}\nprint(pipeline.run(until='now').to_json())\n{last}"
    done = python(installed, program, tmp_path)
    assert done.returncode == {"": 0, "1 / 0": 1}.get(last, 3), done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert [sink["rows"] for sink in report["sinks"].values()] == [900, 900]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="rows")
    client.close()
    yield url
    server.stop()


@pytest.mark.parametrize(("bucket", "last", "code"), [
    ("rows", "print(*[sink.rows for sink in report.sinks.values()])", 0),
    ("rows", "raise SystemExit(3)", 3),
    ("nowhere", "", 1),
])  # fmt: skip
def test_exit_code_after_s3(
    installed: Path, tmp_path: Path, endpoint: str, bucket: str, last: str, code: int
) -> None:
    """Arrow's S3 must be finalised before the process ends, or it aborts after a good run."""
    # A catalog of its own, so a warehouse of its own: the log of another would name another table.
    program = INTO_S3.format(bucket=bucket, folder=f"ends-{code}", endpoint=endpoint) + last
    done = python(installed, program, tmp_path)
    assert done.returncode == code, (done.returncode, done.stderr)
    if code == 0:
        assert done.stdout.splitlines()[-1] == "500"


MISSING: list[tuple[str, str, list[str]]] = [
    ("librdkafka/rdkafka.h", "librdkafka-dev", ["CMAKE_IGNORE_PATH=/usr/include"]),
    (
        "Python.h",
        "python3-dev",
        ["Python_INCLUDE_DIR=/nowhere", "Python_FIND_VIRTUALENV=FIRST"],
    ),
    (
        "GoogleTest",
        "libgtest-dev",
        ["CMAKE_DISABLE_FIND_PACKAGE_GTest=ON", "FZ_TESTS=ON"],
    ),
    ("simdjson", "libsimdjson-dev", ["CMAKE_DISABLE_FIND_PACKAGE_simdjson=ON"]),
    ("nlohmann/json.hpp", "nlohmann-json3-dev", ["CMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON"]),
    (
        "xxhash.h",
        "libxxhash-dev",
        ["CMAKE_IGNORE_PATH=/usr/include", "rdkafka_include=/usr/include"],
    ),
]


@pytest.mark.parametrize(("what", "package", "defines"), MISSING, ids=[row[0] for row in MISSING])
def test_missing_system_library(
    build: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    what: str,
    package: str,
    defines: list[str],
) -> None:
    options = [f"-Ccmake.define.{define}" for define in defines]
    done = build(f"-Cbuild-dir={tmp_path}", *options, check=False)
    assert done.returncode != 0
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    said = lines.index(f"frazil: {what} was not found.")
    assert lines[said + 1] == "it is needed to build the engine from source"
    assert lines[said + 2] == f"install it:  apt-get install {package}   (or run: make system)"


def test_pip_isolates_the_build(source: Path, tmp_path: Path) -> None:
    """What pyproject.toml asks for is all that a build needs: pip's own new environment has it.

    pip's folder is new each time, so nothing would come from ccache: of the engine only nanobind is
    compiled here; the rest is compiled against the same packages by `installed`.
    """
    command(sys.executable, "-m", "venv", "pip", cwd=tmp_path)
    command(
        tmp_path / "pip" / "bin" / "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path,
        "-Cbuild.targets=nanobind-static", "-Cinstall.components=none",
        f"-Cbuild-dir={tmp_path / 'build'}", source, cwd=tmp_path,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("frazil-*.whl")
    cache = (tmp_path / "build" / "CMakeCache.txt").read_text()
    assert "/pip-build-env-" in cache
    assert str(source) + "/.venv" not in cache
    with zipfile.ZipFile(wheel) as opened:
        assert "frazil/py.typed" in opened.namelist()
