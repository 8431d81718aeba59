"""A wheel of this checkout, built as pip builds it, and an environment that has nothing else."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND_SECONDS = 1500  # a build with nothing cached, on a slow machine


def _environment() -> dict[str, str]:
    """The caller's, less what would let this checkout's own frazil in."""
    foreign = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def command(*args: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run and return what it said; its output is the error if it fails."""
    done = subprocess.run(
        args,
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{args}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def uv(*args: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this environment's uv."""
    return command(sys.executable, "-m", "uv", *args, cwd=cwd, check=check)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files alone, with a `.venv` that has what pyproject.toml says a build needs.

    That is a build in isolation but for the folder's name: pip's is new each time, so that no
    compilation could come from ccache.
    """
    folder = tmp_path_factory.mktemp("source") / "frazil"
    folder.mkdir()
    listed = command("git", "ls-files", "-z", cwd=REPOSITORY).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    requires = tomllib.loads((folder / "pyproject.toml").read_text())["build-system"]["requires"]
    uv("venv", "--quiet", "--python", sys.executable, ".venv", cwd=folder)
    uv("pip", "install", "--quiet", "--python", ".venv/bin/python",
       "--constraint", "requirements/dev.txt", *requires, cwd=folder)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def build(source: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Build a wheel of `source` into its `dist`; further arguments go to uv."""

    def run(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return uv("build", "--wheel", "--no-build-isolation", "--python", ".venv/bin/python",
                  "--out-dir", "dist", *args, cwd=source, check=check)  # fmt: skip

    return run


@pytest.fixture(scope="session")
def installed(
    source: Path,
    build: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """`bin` of a clean environment into which the wheel was installed with what it asks for."""
    build()
    (wheel,) = (source / "dist").glob("*.whl")
    folder = tmp_path_factory.mktemp("clean")
    uv("venv", "--quiet", "--python", sys.executable, "clean", cwd=folder)
    uv("pip", "install", "--quiet", "--python", "clean/bin/python", wheel, cwd=folder)
    return folder / "clean" / "bin"
