"""Whether files can be written where a table has its data files."""

from __future__ import annotations

import errno
import uuid
from typing import TYPE_CHECKING

from frazil.errors import ConnectError, SinkError
from frazil.iceberg.sweep import remove_quietly

if TYPE_CHECKING:
    from pyiceberg.table import Table

# Of the file that is written: a place that takes so much is not full.
BYTES = 64 * 1024

_REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENOTDIR,
        errno.EISDIR,
    }
)


def try_to_write(table: Table) -> None:
    """Write a small file beside the data files, and remove it.

    Raises
    ------
    SinkError
        That is refused: there is no right to, or no room.
    ConnectError
        The place is away.
    """
    folder = table.location_provider().data_path.rstrip("/")
    path = f"{folder}/frazil-probe-{uuid.uuid4()}"
    try:
        with table.io.new_output(path).create() as output:
            output.write(bytes(BYTES))
    except Exception as error:  # depends on the FileIO
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"writing to {folder}: {text}"
        refused = isinstance(error, PermissionError) or (
            isinstance(error, OSError) and error.errno in _REFUSALS
        )
        if refused:
            raise SinkError(what, "give the right to write there, or make room") from error
        raise ConnectError(what) from error
    remove_quietly(table, path)
