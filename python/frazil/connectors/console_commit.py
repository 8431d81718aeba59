"""Prints the rows of a console sink when their checkpoint is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from frazil.connectors.file_commit import read_token


def commit(parts: Iterable[str], out: TextIO) -> int:
    """Print the rows of a token as JSON lines.

    Parameters
    ----------
    parts
        A token: what the workers prepared.
    out
        Where to print.

    Returns
    -------
    int
        Rows in the token; those beyond the bound are counted, not printed.
    """
    rows = 0
    for part in parts:
        token = read_token(part)
        out.write(token["lines"])
        if token["more"]:
            out.write(f"... and {token['more']} more rows\n")
        rows += token["rows"]
    out.flush()
    return rows
