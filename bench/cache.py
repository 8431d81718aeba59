"""Where the benchmark keeps what it makes once: venvs, event files, scratch folders."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """In the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "frazil" / "bench"


def scratch_dir(name: str) -> Path:
    """A new empty folder; the caller removes it."""
    scratch = cache_dir() / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
