"""Bytewax in a folder of its own, for programs whose results are compared with ours."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.services.cache import install, run_tool

VERSION = "0.21.1"

PYTHON_MAX = (3, 12)
"""The newest Python that this version has wheels for."""


def fetch_bytewax() -> Path | None:
    """Return the folder with its packages, fetched on first use; None: not for this Python."""
    if sys.version_info[:2] > PYTHON_MAX:
        return None
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    uv = Path(sys.executable).with_name("uv")

    def build(folder: Path) -> None:
        into = ("--python", sys.executable, "--target", folder)
        run_tool([uv, "pip", "install", *into, f"bytewax=={VERSION}"], cwd=folder)

    return install(f"bytewax-{VERSION}-python-{python}", build)
