"""Where a pipeline's checkpoints are kept if it does not say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from frazil.errors import ConfigError

FOLDER = "checkpoints"
"""Name of the folder beside a warehouse on a local disk."""
PREFIX = "_frazil"
"""Name of the prefix in a warehouse on object storage."""


def checkpoint_folder(pipeline: str, given: str | None, warehouses: Sequence[str | None]) -> str:
    """Give the folder or URL of one pipeline's checkpoints.

    Parameters
    ----------
    pipeline
        Its name; pipelines may share what is given.
    given
        What the program says: a folder or ``s3://bucket/prefix``.
    warehouses
        The ``warehouse`` of each table's catalog, in the order of sinks; None if a catalog does not
        tell. Without tables there are none.

    Returns
    -------
    str
        An absolute path or an URL.

    Raises
    ------
    ConfigError
        If nothing is given and the first catalog does not tell its warehouse.

    Examples
    --------
    >>> checkpoint_folder("orders", None, ["s3://lake/tables"])
    's3://lake/tables/_frazil/orders'
    >>> checkpoint_folder("orders", "/var/frazil", [])
    '/var/frazil/orders'
    """
    if given is not None:
        return f"{_absolute(given)}/{pipeline}"
    if not warehouses:
        return f"{Path.cwd() / FOLDER}/{pipeline}"
    warehouse = warehouses[0]
    if warehouse is None:
        raise ConfigError(
            f"pipeline {pipeline}: no checkpoint= is given, and the catalog tells no warehouse",
            'write checkpoint="s3://bucket/prefix" or a folder',
        )
    if "://" in warehouse and not warehouse.startswith("file://"):
        return f"{warehouse.rstrip('/')}/{PREFIX}/{pipeline}"
    return f"{Path(_absolute(warehouse)).parent / FOLDER}/{pipeline}"


def _absolute(place: str) -> str:
    place = place.removeprefix("file://")
    if "://" in place:
        return place.rstrip("/")
    return os.path.abspath(os.path.expanduser(place))
