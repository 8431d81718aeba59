"""Gives the files of a file sink their final names.

The engine writes a file, durable, as ``<folder>/_frazil/staging/<name>``; the token says what it is
to be called. The commit is a rename that can be repeated: done already, it does nothing. A name
that somebody else's file has is never overwritten.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frazil.errors import CommitError

STAGING = "_frazil/staging"

_STAGED = r"-(?P<attempt>\d+)-\d{12,}-\d+-[0-9a-f-]{36}\.(?:jsonl|parquet)"

NAME_CHARS_MAX = 60
"""Characters of a sink's name in the names of its files."""


def file_prefix(sink: str, scope: str) -> str:
    """Begin the names of a sink's files.

    Parameters
    ----------
    sink
        Its name; what file names should not have becomes "_".
    scope
        Whose files they are: another for every sink and checkpoint log (`file_scope`).
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "_", sink.removeprefix("file:")).strip("_.")
    return f"{readable[-NAME_CHARS_MAX:].strip('_.') or 'rows'}-{scope}"


def commit(folder: Path, parts: Iterable[str]) -> int:
    """Make the files of a token visible; any number of times, the first counts.

    Parameters
    ----------
    folder
        The sink's folder.
    parts
        A token: what the workers prepared.

    Returns
    -------
    int
        Rows in the files.

    Raises
    ------
    CommitError
        A file is gone, or its name is taken.
    """
    rows = 0
    published: list[Path] = []
    for part in parts:
        token = read_token(part)
        for file in token["files"]:
            staged = folder / file["staged"]
            _publish(folder, staged, folder / file["name"])
            published.append(staged)
        rows += token["rows"]
    sync_folder(folder)
    # Only now: the staged names keep the files until the final ones are durable.
    for staged in published:
        staged.unlink(missing_ok=True)
    return rows


def staged_files(parts: Iterable[str]) -> set[str]:
    """Names in the staging folder that a token needs."""
    return {Path(file["staged"]).name for part in parts for file in read_token(part)["files"]}


def remove_abandoned(folder: Path, *, prefix: str, before_attempt: int, needed: set[str]) -> int:
    """Remove what dead attempts have staged and no token names; the number of files.

    Call it only as the owner of the checkpoint log: older attempts can never commit again. Files
    of other sinks, which have another prefix, stay.
    """
    pattern = re.compile(re.escape(prefix) + _STAGED)
    staging = folder / STAGING
    removed = 0
    for name in sorted(os.listdir(staging)) if staging.is_dir() else []:
        match = pattern.fullmatch(name)
        if match is None or int(match["attempt"]) >= before_attempt or name in needed:
            continue
        (staging / name).unlink(missing_ok=True)
        removed += 1
    return removed


def read_token(part: str) -> dict[str, Any]:
    """Read a worker's part of a token."""
    token: dict[str, Any] = json.loads(part)
    if token.get("v") != 1:
        raise CommitError(
            f"a token of version {token.get('v')!r} is not known to this version of frazil",
            "run the version that wrote it, or a newer one",
        )
    return token


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(folder: Path, staged: Path, final: Path) -> None:
    """Give a staged file its final name, beside the staged one."""
    try:
        _link(staged, final)
    except FileNotFoundError:
        if not final.exists():
            raise CommitError(
                f"{folder}: both {staged.relative_to(folder)} and {final.name} are gone",
                "restore the folder; the rows are in no other place",
            ) from None
    except FileExistsError:
        if staged.exists() and not os.path.samefile(staged, final):
            raise CommitError(
                f"{final} is there already and is another file",
                "move it away; frazil does not overwrite files",
            ) from None
    except OSError as error:
        raise CommitError(f"{final}: {error.strerror}") from None


def _link(staged: Path, final: Path) -> None:
    # A hard link never replaces a file, a rename would.
    try:
        os.link(staged, final)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A file system without hard links.
        if final.exists():
            raise FileExistsError(errno.EEXIST, "file exists", str(final)) from None
        os.rename(staged, final)
