"""A venv for a system's program, made by uv once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cache import cache_dir


def make_venv(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of a venv with these packages; a changed list makes a new one."""
    made_from = "\n".join((sys.version, *packages))
    return _venv(name, made_from, sys.executable, packages)


def make_locked_venv(name: str, python: str, locked: Path) -> Path:
    """Return the Python, of a version, of a venv with just the packages of a file of hashes."""
    made_from = f"{python}\n{locked.read_text()}"
    return _venv(name, made_from, python, ("--no-deps", "--require-hashes", "-r", str(locked)))


def _venv(name: str, made_from: str, python_of: str, install: Sequence[str]) -> Path:
    folder = cache_dir() / name / hashlib.sha256(made_from.encode()).hexdigest()[:12]
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--python", python_of, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *install], check=True)
        ready.touch()
    return python
